/* The program of scratch.c, where the threads begin with chunks that were neighbours. */
#define PASSIVE 1
#include "scratch.c"
