/* Runs survival.c's program under a limit on address space, as `ulimit -v` sets one: it
 * holds from the start of the program. The first argument is the limit in MiB. */
#include "check.h"
#include <sys/resource.h>

int main(int count, char **words) {
    size_t bytes = (size_t)atol(words[1]) << 20;
    struct rlimit limit = {bytes, bytes};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    char program[4096], *name;
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 16);
    CHECK(length > 0);
    program[length] = 0;
    CHECK((name = strrchr(program, '/')));
    strcpy(name, "/survival_c");
    words[1] = program;
    execv(program, words + 1);
    CHECK(!"the program runs");
}
