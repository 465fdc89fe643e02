# about: rustc -O on 16 generated types with derives (Debian's: rustup's has jemalloc inside)
# needs: /usr/bin/rustc (apt-get install rustc)
prepare() {
    awk 'BEGIN { print "use std::collections::{BTreeMap, HashMap};"; for (i = 0; i < 16; i++) {
        printf "#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]\n"
        printf "pub struct S%d { pub a: u%d, pub name: String, pub list: Vec<Option<u32>> }\n", i, 8 * 2 ^ (i % 4)
        printf "impl S%d {\n    pub fn f(&self, map: &mut BTreeMap<String, Vec<S%d>>) -> usize {\n", i, i
        printf "        let entry = map.entry(format!(\"{}-{:?}\", self.name, self.a)).or_default();\n"
        printf "        entry.push(self.clone());\n        entry.sort();\n"
        printf "        entry.iter().filter(|s| s.a as usize > %d).map(|s| s.list.len()).sum()\n    }\n}\n", i
    } print "pub fn count(words: &[String]) -> HashMap<&str, usize> {"
      print "    let mut out = HashMap::new();"
      print "    for w in words { *out.entry(w.as_str()).or_insert(0) += 1; }\n    out\n}" }' >large.rs
}
run() {
    cp "$INPUT/large.rs" .
    /usr/bin/rustc --edition 2021 --crate-type rlib -O -C codegen-units=4 \
        --remap-path-prefix "$PWD=." large.rs -o out/liblarge.rlib
}
