// new and delete in all their forms: sized and aligned deletes, a new-handler, bad_alloc.
#include <cstdint>
#include <cstdlib>
#include <map>
#include <new>
#include <string>
#include <vector>

extern "C" {
#include "check.h"
}

struct alignas(256) Far {
    char bytes[300];
};

struct Base {
    virtual ~Base() {}
    char bytes[40];
};

struct Derived : Base {
    std::string name = "a name that is too long to be kept in the string itself";
    char more[1000];
};

static int handled;

static void handler() {
    if (++handled == 3) std::set_new_handler(nullptr);
}

int main(int count, char **) {
    for (size_t size = 0; size < 300000; size = size * 2 + 1) {
        ::operator delete(::operator new(size), size);
        ::operator delete[](::operator new[](size), size);
        ::operator delete(::operator new(size));
        ::operator delete(::operator new(size, std::nothrow), std::nothrow);
        for (size_t align = 1; align <= 65536; align *= 4) {
            auto a = std::align_val_t(align);
            void *chunk = ::operator new(size, a);
            CHECK((uintptr_t)chunk % align == 0);
            ::operator delete(chunk, size, a);
            ::operator delete(::operator new(size, a), a);
            ::operator delete[](::operator new[](size, a), size, a);
            ::operator delete[](::operator new[](size, a), a);
        }
    }
    Base *base = new Derived;
    delete base;
    delete[] new Derived[7];
    delete new Far;
    delete[] new Far[3];
    std::map<std::string, std::vector<int>> map;
    for (int i = 0; i < 10000; i++) map[std::to_string(i % 997)].push_back(i);
    CHECK(map.size() == 997);

    std::set_new_handler(handler);
    bool thrown = false;
    try {
        ::operator new(opaque(SIZE_MAX / 4));
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    CHECK(thrown && handled == 3);
    thrown = false;
    try {
        ::operator new[](opaque(SIZE_MAX / 4));
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    CHECK(thrown);
    CHECK(::operator new(opaque(SIZE_MAX / 4), std::nothrow) == nullptr);
    if (count > 1) {
        // A wrong size is misuse.
        ::operator delete(::operator new(100), (size_t)10000);
    }
    return 0;
}
