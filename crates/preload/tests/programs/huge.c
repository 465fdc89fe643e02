/* Writes to standard error what the kernel has noted for the mappings of a small and of a large
 * chunk, and of a large one after memory went back to the system: hg where huge pages are asked for, nh
 * where they are forbidden. */
#include "check.h"
#include <malloc.h>

/* The flag of the mapping that holds the address. */
static const char *huge(const void *chunk) {
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[512];
    int within = 0;
    CHECK(maps);
    while (fgets(line, sizeof line, maps)) {
        uintptr_t start, end;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
            within = (uintptr_t)chunk >= start && (uintptr_t)chunk < end;
        } else if (within && strncmp(line, "VmFlags:", 8) == 0) {
            fclose(maps);
            return strstr(line, " hg") ? "hg" : strstr(line, " nh") ? "nh" : "--";
        }
    }
    CHECK(!"no mapping holds the chunk");
    return NULL;
}

int main(void) {
    char *small = malloc(opaque(100000)), *large = malloc(opaque(8 << 20));
    CHECK(small && large);
    fprintf(stderr, "%s %s ", huge(small), huge(large));
    memset(large, 1, 8 << 20);
    free(large);
    CHECK(malloc_trim(0) == 1);
    char *again = malloc(opaque(8 << 20));
    CHECK(again);
    fprintf(stderr, "%s\n", huge(again));
}
