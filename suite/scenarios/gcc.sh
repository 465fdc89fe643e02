# about: gcc -O2 on 200 generated functions, and g++ on templates of the standard library
# needs: gcc g++ (apt-get install gcc g++)
prepare() {
    awk 'BEGIN { print "#include <stdio.h>\n#include <string.h>"; for (i = 0; i < 200; i++) {
        printf "struct s%d { int a[%d]; char name[%d]; };\n", i, i % 13 + 1, i % 29 + 1
        printf "long f%d(struct s%d *s, long n) {\n    long sum = n;\n", i, i
        printf "    for (long i = 0; i < n %% %d + 3; i++) {\n", i % 17 + 1
        printf "        sum += s->a[i %% %d] * (i ^ %d);\n", i % 13 + 1, i
        printf "        switch (sum & 7) { case 0: sum ^= n; break; case 1: sum -= i; break; "
        printf "case 2: s->name[sum %% %d & 15 %% %d] = (char)i; break; default: sum++; }\n", 7, i % 29 + 1
        if (i) printf "        if (sum %% 1000 == %d) { struct s%d t; memset(&t, 0, sizeof t); sum += f%d(&t, n - 1); }\n", i, i - 1, i - 1
        print "    }\n    return sum;\n}" } }' >large.c
    cat >large.cc <<'CC'
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>
template <int N> struct step {
    std::map<std::string, std::vector<step<N - 1>>> more;
    std::function<int(int)> f = [](int x) { return x * N; };
    int run(int x) { return step<N - 1>().run(f(x)) + static_cast<int>(more.size()); }
};
template <> struct step<0> { int run(int x) { return x; } };
int main() {
    std::regex pattern("([a-z]+)([0-9]*)");
    std::unordered_map<std::string, std::set<int>> index;
    index["one"].insert(step<24>().run(1));
    std::cout << std::regex_match("abc12", pattern) << index.size() << "\n";
}
CC
}
run() {
    cp "$INPUT"/large.c "$INPUT"/large.cc .
    gcc -O2 -c large.c -o out/large.o
    g++ -O2 -c large.cc -o out/large_cc.o
    gcc -O1 -S large.c -o out/large.s
}
