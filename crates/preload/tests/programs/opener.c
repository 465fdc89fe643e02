/* A program in C opens a library in C++, for itself alone. */
#include "check.h"
#include <dlfcn.h>

int main(int count, char **words) {
    CHECK(!dlsym(RTLD_DEFAULT, "_ZSt9terminatev"));
    void *library = dlopen(words[1], RTLD_NOW | RTLD_LOCAL);
    CHECK(library);
    int (*refused)(size_t) = (int (*)(size_t))dlsym(library, "refused");
    CHECK(refused);
    CHECK(refused(0) == 0 && refused(100) == 0);
    CHECK(refused(SIZE_MAX / 4) == 2);
    return 0;
}
