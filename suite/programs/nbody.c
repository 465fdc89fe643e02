/* Bodies that attract each other, in an octree that is built anew at every step.
 *
 * The tree of a step is some thousand nodes of 112 bytes, allocated one by one and freed
 * together. Between the two it is read far more often than memory is asked for, so what
 * counts is where the chunks lie. One thread. The method is that of Barnes and Hut (1986). */
#include "common.h"
#include <math.h>

#define BODIES 6000
#define STEPS 36

struct body { double at[3], speed[3], pull[3], mass; };

/* A node is a leaf as long as it holds one body. */
struct node { struct node *children[8]; double at[3], mass; struct body *only; int count; };

static long nodes;

static struct node *node_new(void) {
    nodes++;
    return (struct node *)must(calloc(1, sizeof(struct node)));
}

static int octant(const double *at, const double *middle) {
    return (at[0] > middle[0]) | (at[1] > middle[1]) << 1 | (at[2] > middle[2]) << 2;
}

static void insert(struct node *node, struct body *body, const double *middle,
                   double reach, int deep) {
    for (int d = 0; d < 3; d++) node->at[d] += body->at[d] * body->mass;
    node->mass += body->mass;
    if (node->count++ == 0) {
        node->only = body;
        return;
    }
    struct body *both[2] = { body, node->only };
    node->only = NULL;
    if (deep > 40) return;
    for (int i = 0; i < 2; i++) {
        if (!both[i]) continue;
        int o = octant(both[i]->at, middle);
        double centre[3];
        for (int d = 0; d < 3; d++) centre[d] = middle[d] + (o >> d & 1 ? reach : -reach) / 2;
        if (!node->children[o]) node->children[o] = node_new();
        insert(node->children[o], both[i], centre, reach / 2, deep + 1);
    }
}

static void attract(const struct node *node, struct body *body, double reach) {
    double away[3], squared = 0.01;
    for (int d = 0; d < 3; d++) {
        away[d] = node->at[d] / node->mass - body->at[d];
        squared += away[d] * away[d];
    }
    if (node->count == 1 || reach * reach < 0.5 * squared) {
        double strength = node->mass / (squared * sqrt(squared));
        for (int d = 0; d < 3; d++) body->pull[d] += away[d] * strength;
        return;
    }
    for (int o = 0; o < 8; o++)
        if (node->children[o]) attract(node->children[o], body, reach / 2);
}

static void node_free(struct node *node) {
    for (int o = 0; o < 8; o++)
        if (node->children[o]) node_free(node->children[o]);
    free(node);
}

int main(int argc, char **argv) {
    arguments(argc, argv, "Bodies in an octree that is built at every step; one thread.");
    struct random r = random_from(4);
    struct body *bodies = (struct body *)must(calloc(BODIES, sizeof *bodies));
    for (int i = 0; i < BODIES; i++) {
        for (int d = 0; d < 3; d++)
            bodies[i].at[d] = (double)random_between(&r, 0, 2000000) / 1e6 - 1;
        bodies[i].mass = 1.0 / BODIES;
    }
    for (long step = 0; step < work(STEPS); step++) {
        const double middle[3] = { 0, 0, 0 };
        struct node *root = node_new();
        for (int i = 0; i < BODIES; i++) insert(root, &bodies[i], middle, 4.0, 0);
        if (root->count != BODIES) wrong(root, sizeof *root);
        for (int i = 0; i < BODIES; i++) {
            memset(bodies[i].pull, 0, sizeof bodies[i].pull);
            attract(root, &bodies[i], 8.0);
        }
        for (int i = 0; i < BODIES; i++) {
            for (int d = 0; d < 3; d++) {
                bodies[i].speed[d] += bodies[i].pull[d] * 0.001;
                bodies[i].at[d] += bodies[i].speed[d] * 0.001;
            }
        }
        node_free(root);
    }
    double energy = 0;
    for (int i = 0; i < BODIES; i++)
        for (int d = 0; d < 3; d++) energy += bodies[i].speed[d] * bodies[i].speed[d];
    free(bodies);
    printf("%ld nodes, motion %.12g\n", nodes, energy);
    return 0;
}
