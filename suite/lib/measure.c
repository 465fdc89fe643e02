/* Runs one program and says what it took: `measure REPORT SECONDS PRELOAD PROGRAM …`.
 *
 * REPORT is a file that gets one line of JSON. SECONDS is when the program and all that it
 * started are killed. PRELOAD is the library for LD_PRELOAD, or empty.
 *
 * A small program of its own, statically linked, because Linux counts the peak of whoever
 * forks towards the child: started from Python, every program would seem to take as much
 * as Python does. The peak is that of the largest process among the program and the
 * children that it waited for. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pid_t child;
static volatile sig_atomic_t late;

static void on_alarm(int signal) {
    (void)signal;
    late = 1;
    kill(-child, SIGKILL);
}

static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }

int main(int argc, char **argv) {
    if (argc < 5) {
        fprintf(stderr, "usage: measure REPORT SECONDS PRELOAD PROGRAM [ARGUMENT]...\n");
        return 2;
    }
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    child = fork();
    if (child < 0) {
        perror("fork");
        return 2;
    }
    if (child == 0) {
        setpgid(0, 0);
        if (*argv[3]) setenv("LD_PRELOAD", argv[3], 1);
        execvp(argv[4], argv + 4);
        perror(argv[4]);
        _exit(127);
    }
    setpgid(child, child);
    signal(SIGALRM, on_alarm);
    alarm((unsigned)atoi(argv[2]));
    int status;
    struct rusage usage;
    while (wait4(child, &status, 0, &usage) < 0 && errno == EINTR) {}
    clock_gettime(CLOCK_MONOTONIC, &to);
    kill(-child, SIGKILL);   /* what it may have left running */

    FILE *report = fopen(argv[1], "w");
    if (!report) {
        perror(argv[1]);
        return 2;
    }
    fprintf(report,
            "{\"seconds\": %.6f, \"user\": %.6f, \"system\": %.6f, \"peak_kib\": %ld, "
            "\"faults\": %ld, \"exit\": %d, \"signal\": %d, \"late\": %s}\n",
            (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9,
            seconds(usage.ru_utime), seconds(usage.ru_stime), usage.ru_maxrss, usage.ru_minflt,
            WIFEXITED(status) ? WEXITSTATUS(status) : -1,
            WIFSIGNALED(status) ? WTERMSIG(status) : 0, late ? "true" : "false");
    return fclose(report) ? 2 : 0;
}
