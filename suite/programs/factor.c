/* A number cruncher with short-lived small chunks: factoring by continued fractions.
 *
 * Numbers are as long as they need be, each in a chunk of its own. Every operation allocates
 * its result, and frees what is no longer needed: chunks of 8 to 24 bytes live for some
 * microseconds. The program factors products of two primes by Shanks's square forms
 * (SQUFOF). Nothing lives long, and memory must stay small. One thread.
 *
 * The pattern is that of cfrac, which Zorn and Grunwald used to study allocators (1992). */
#include "common.h"

/* A natural number: `used` digits to the base 2^32, the lowest first, none zero at the top. */
struct number { uint32_t used; uint32_t digits[]; };
typedef struct number *num;

static num raw(uint32_t digits) {
    num n = (num)must(malloc(sizeof *n + digits * sizeof(uint32_t)));
    n->used = digits;
    return n;
}

static num trim(num n) {
    while (n->used && n->digits[n->used - 1] == 0) n->used--;
    return n;
}

static num from(uint64_t value) {
    num n = raw(2);
    n->digits[0] = (uint32_t)value;
    n->digits[1] = (uint32_t)(value >> 32);
    return trim(n);
}

static num copy(num a) {
    num n = raw(a->used);
    memcpy(n->digits, a->digits, a->used * sizeof(uint32_t));
    return n;
}

static int compare(num a, num b) {
    if (a->used != b->used) return a->used < b->used ? -1 : 1;
    for (uint32_t i = a->used; i-- > 0;)
        if (a->digits[i] != b->digits[i]) return a->digits[i] < b->digits[i] ? -1 : 1;
    return 0;
}

static num add(num a, num b) {
    if (a->used < b->used) { num t = a; a = b; b = t; }
    num n = raw(a->used + 1);
    uint64_t carry = 0;
    for (uint32_t i = 0; i < a->used; i++) {
        carry += (uint64_t)a->digits[i] + (i < b->used ? b->digits[i] : 0);
        n->digits[i] = (uint32_t)carry;
        carry >>= 32;
    }
    n->digits[a->used] = (uint32_t)carry;
    return trim(n);
}

/* a - b, where a is not below b. */
static num sub(num a, num b) {
    num n = raw(a->used);
    int64_t borrow = 0;
    for (uint32_t i = 0; i < a->used; i++) {
        borrow += (int64_t)a->digits[i] - (i < b->used ? b->digits[i] : 0);
        n->digits[i] = (uint32_t)borrow;
        borrow >>= 32;
    }
    return trim(n);
}

static num mul(num a, num b) {
    num n = raw(a->used + b->used);
    memset(n->digits, 0, n->used * sizeof(uint32_t));
    for (uint32_t i = 0; i < a->used; i++) {
        uint64_t carry = 0;
        for (uint32_t j = 0; j < b->used; j++) {
            carry += (uint64_t)a->digits[i] * b->digits[j] + n->digits[i + j];
            n->digits[i + j] = (uint32_t)carry;
            carry >>= 32;
        }
        n->digits[i + b->used] = (uint32_t)carry;
    }
    return trim(n);
}

static num halve(num a) {
    num n = raw(a->used);
    for (uint32_t i = 0; i < a->used; i++)
        n->digits[i] = a->digits[i] >> 1 | (i + 1 < a->used ? a->digits[i + 1] << 31 : 0);
    return trim(n);
}

/* Quotient; the rest goes to `*rest` where that is asked for. Knuth's algorithm D is for
 * long numbers; these are short, and shifting and subtracting is enough where the
 * divisor has more than one digit. */
static num divide(num a, num b, num *rest) {
    if (compare(a, b) < 0) {
        if (rest) *rest = copy(a);
        return from(0);
    }
    num quotient = raw(a->used);
    if (b->used == 1) {
        uint64_t carry = 0;
        for (uint32_t i = a->used; i-- > 0;) {
            carry = carry << 32 | a->digits[i];
            quotient->digits[i] = (uint32_t)(carry / b->digits[0]);
            carry %= b->digits[0];
        }
        if (rest) *rest = from(carry);
        return trim(quotient);
    }
    if (a->used <= 2) {
        uint64_t x = a->digits[0] | (uint64_t)a->digits[1] << 32;
        uint64_t y = b->digits[0] | (uint64_t)b->digits[1] << 32;
        free(quotient);
        if (rest) *rest = from(x % y);
        return from(x / y);
    }
    memset(quotient->digits, 0, quotient->used * sizeof(uint32_t));
    num left = from(0);
    for (uint32_t bit = a->used * 32; bit-- > 0;) {
        num twice = add(left, left);
        free(left);
        left = twice;
        if (a->digits[bit / 32] >> bit % 32 & 1) {
            num one = from(1), more = add(left, one);
            free(one);
            free(left);
            left = more;
        }
        if (compare(left, b) >= 0) {
            num less = sub(left, b);
            free(left);
            left = less;
            quotient->digits[bit / 32] |= 1u << bit % 32;
        }
    }
    if (rest) *rest = left; else free(left);
    return trim(quotient);
}

/* The largest number whose square is at most `a`, by Newton's method from above. */
static num root(num a) {
    num guess = from((uint64_t)1 << 32), one = from(1);
    while (true) {
        num quotient = divide(a, guess, NULL), sum = add(guess, quotient), next = halve(sum);
        free(quotient);
        free(sum);
        if (compare(next, guess) >= 0) {
            free(next);
            free(one);
            return guess;
        }
        free(guess);
        guess = next;
    }
}

/* Whether `a` is a square; then, or where it takes a closer look, its root. */
static bool square(num a, num *root_of) {
    if (!(0x0213u >> (a->digits[0] & 15) & 1)) return false;
    *root_of = root(a);
    num again = mul(*root_of, *root_of);
    bool exact = compare(again, a) == 0;
    free(again);
    return exact;
}

static num gcd(num a, num b) {
    num x = copy(a), y = copy(b);
    while (y->used) {
        num rest;
        free(divide(x, y, &rest));
        free(x);
        x = y;
        y = rest;
    }
    free(y);
    return x;
}

/* One step of the expansion of the root of n: P' = b Q - P, Q' = Qbefore + b (P - P'),
 * with b = (root + P) / Q. */
static void step(num root_of, num *p, num *q, num *before) {
    num sum = add(root_of, *p), b = divide(sum, *q, NULL), bq = mul(b, *q);
    num next_p = sub(bq, *p), next_q;
    if (compare(*p, next_p) >= 0) {
        num change = sub(*p, next_p), scaled = mul(b, change);
        next_q = add(*before, scaled);
        free(change);
        free(scaled);
    } else {
        num change = sub(next_p, *p), scaled = mul(b, change);
        next_q = sub(*before, scaled);
        free(change);
        free(scaled);
    }
    free(sum);
    free(b);
    free(bq);
    free(*p);
    free(*before);
    *p = next_p;
    *before = *q;
    *q = next_q;
}

/* A factor of n, by the expansion of the root of k n; 1 where that finds none. */
static num factor(num n, uint64_t k) {
    num multiplier = from(k), kn = mul(n, multiplier), top = root(kn), squared = mul(top, top);
    num p = copy(top), q = sub(kn, squared), before = from(1), found = NULL;
    free(multiplier);
    free(squared);
    for (long i = 1; i < 60000 && q->used; i++) {
        num r = NULL;
        if (i % 2 || !square(q, &r)) {
            free(r);
            step(top, &p, &q, &before);
            continue;
        }
        /* Back along the principal form until two steps meet. */
        num gap = sub(top, p), b = divide(gap, r, NULL), br = mul(b, r), start_p = add(br, p);
        num sq = mul(start_p, start_p), over = sub(kn, sq), start_q = divide(over, r, NULL);
        free(gap); free(b); free(br); free(sq); free(over);
        num rp = start_p, rq = start_q, rbefore = r, last = from(0);
        for (long j = 0; j < 60000; j++) {
            free(last);
            last = copy(rp);
            step(top, &rp, &rq, &rbefore);
            if (compare(last, rp) == 0) break;
        }
        found = gcd(n, rp);
        free(rp); free(rq); free(rbefore); free(last);
        if (found->used > 1 || found->digits[0] > 1) {
            if (compare(found, n) < 0) break;
        }
        free(found);
        found = NULL;
        step(top, &p, &q, &before);
    }
    free(kn); free(top); free(p); free(q); free(before);
    return found ? found : from(1);
}

static bool prime(uint32_t n) {
    for (uint32_t d = 3; d * d <= n; d += 2)
        if (n % d == 0) return false;
    return n % 2;
}

int main(int argc, char **argv) {
    arguments(argc, argv, "Factors numbers with a chunk for every intermediate result.");
    struct random r = random_from(5);
    uint64_t sum = 0;
    long factored = 0;
    for (long i = 0; i < work(200); i++) {
        uint32_t primes[2];
        for (int which = 0; which < 2; which++) {
            do primes[which] = (uint32_t)random_between(&r, 20000000, 60000000) | 1;
            while (!prime(primes[which]));
        }
        num n = from((uint64_t)primes[0] * primes[1]), found = from(1);
        for (uint64_t k = 1; k <= 11 && found->digits[0] == 1 && found->used == 1; k += 2) {
            free(found);
            found = factor(n, k);
        }
        num rest, quotient = divide(n, found, &rest);
        if (rest->used) wrong(n, sizeof *n);
        if (found->used != 1 || found->digits[0] != 1) {
            if (found->digits[0] != primes[0] && found->digits[0] != primes[1]) wrong(found, 8);
            factored++;
        }
        sum += found->digits[0] ^ quotient->digits[0];
        free(n); free(found); free(rest); free(quotient);
    }
    printf("%ld numbers factored, sum %llu\n", factored, (unsigned long long)sum);
    return 0;
}
