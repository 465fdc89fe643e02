/* The server of server.c in C++, where `operator delete` is told the size. */
#define SIZED 1
#include "server.c"
