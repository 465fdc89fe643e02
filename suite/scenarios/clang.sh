# about: clang, a C++ file full of templates, optimised
# needs: clang++ (apt-get install clang)
prepare() {
    cat >work.cc <<'CPP'
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <string>
#include <unordered_map>
#include <variant>
template <int N> struct Fill {
    static void into(std::map<int, std::string> &map) { map[N] = std::to_string(N * 7); Fill<N - 1>::into(map); }
};
template <> struct Fill<0> { static void into(std::map<int, std::string> &) {} };
using Value = std::variant<int, double, std::string, std::map<std::string, int>>;
int main() {
    std::map<int, std::string> map;
    Fill<100>::into(map);
    std::unordered_map<std::string, Value> values;
    for (auto &[key, text] : map) values[text] = text + "-";
    std::cout << values.size() << "\n";
}
CPP
}
run() { clang++ -std=c++17 -O2 -S -o out/work.s "$INPUT/work.cc" && clang++ -std=c++17 -O0 -g -fdebug-compilation-dir=. -c -o out/work.o "$INPUT/work.cc"; }
