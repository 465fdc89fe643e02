/* The server of server.c with larger answers: 500 chunks of 1 to 64 KiB for each worker,
 * sizes at which allocators change from small classes to spans of OS pages. */
#define SMALLEST 1024
#define LARGEST 65536
#define HELD 500
#define GENERATIONS 40
#define REPLACES 200000
#include "server.c"
