/* Runs survival.c's program under a limit on address space or on data, as `ulimit -v` and
 * `ulimit -d` set one: it holds from the start of the program. The first argument says on
 * which, the second is the limit in MiB. */
#include "check.h"
#include <sys/resource.h>

int main(int count, char **words) {
    int on = !strcmp(words[1], "data") ? RLIMIT_DATA : RLIMIT_AS;
    size_t bytes = (size_t)atol(words[2]) << 20;
    struct rlimit limit = {bytes, bytes};
    CHECK(setrlimit(on, &limit) == 0);
    char program[4096], *name;
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 16);
    CHECK(length > 0);
    program[length] = 0;
    CHECK((name = strrchr(program, '/')));
    strcpy(name, "/survival_c");
    words[2] = program;
    execv(program, words + 2);
    CHECK(!"the program runs");
}
