// A program that replaces new and delete has its own deletes called, sized or not.
#include <cstdlib>
#include <new>

extern "C" {
#include "check.h"
}

static int deleted, deleted_aligned;

void *operator new(size_t size) {
    char *chunk = (char *)malloc(size + 16);
    return chunk + 16;
}

void operator delete(void *chunk) noexcept {
    deleted++;
    if (chunk) free((char *)chunk - 16);
}

void *operator new(size_t size, std::align_val_t) {
    char *chunk = (char *)aligned_alloc(4096, size + 4096);
    return chunk + 4096;
}

void operator delete(void *chunk, std::align_val_t) noexcept {
    deleted_aligned++;
    if (chunk) free((char *)chunk - 4096);
}

int main() {
    ::operator delete(::operator new(100), (size_t)100);
    ::operator delete[](::operator new[](100), (size_t)100);
    ::operator delete[](::operator new[](100));
    delete new int;
    delete[] new int[100];
    CHECK(deleted == 5);
    auto align = std::align_val_t(1024);
    ::operator delete(::operator new(100, align), (size_t)100, align);
    ::operator delete[](::operator new[](100, align), (size_t)100, align);
    ::operator delete[](::operator new[](100, align), align);
    CHECK(deleted_aligned == 3);
    return 0;
}
