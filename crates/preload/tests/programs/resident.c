/* Does what every small program does, and writes to standard error how many KiB of the library's
 * file are resident then, by what the kernel says of each of its mappings. */
#include "check.h"
#include <fcntl.h>
#include <unistd.h>

static char text[1 << 16];

int main(void) {
    for (size_t bytes = 1; bytes <= 20000; bytes += bytes / 2 + 1) {
        char *chunk = realloc(malloc(bytes), 2 * bytes), *zero = calloc(1, bytes);
        CHECK(chunk && zero && !zero[bytes - 1]);
        free(chunk);
        free(zero);
    }
    int maps = open("/proc/self/smaps", O_RDONLY);
    size_t length = 0;
    ssize_t got;
    CHECK(maps >= 0);
    while ((got = read(maps, text + length, sizeof text - 1 - length)) > 0) length += (size_t)got;
    CHECK(got == 0 && length < sizeof text - 1);

    long resident = 0, one;
    int ours = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        /* "7f00…-7f00… r-xp … name" opens a mapping, "Rss: 64 kB" is of the one above. */
        if (strchr("0123456789abcdef", *line)) ours = strstr(line, "libmallocer.so") != NULL;
        if (ours && sscanf(line, "Rss: %ld", &one) == 1) resident += one;
    }
    fprintf(stderr, "%ld\n", resident);
}
