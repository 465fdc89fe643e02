// A library in C++: the program that opens it is not, so nobody but the library sees what throws.
#include <cstddef>
#include <new>

extern "C" int refused(std::size_t size) {
    int caught = 0;
    try {
        ::operator delete(::operator new(size));
    } catch (const std::bad_alloc &) {
        caught++;
    }
    try {
        delete[] new char[size];
    } catch (const std::bad_alloc &) {
        caught++;
    }
    return caught;
}
