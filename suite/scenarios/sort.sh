# about: sort, uniq and xz with two threads over 1.5 million lines
# needs: sort xz (apt-get install coreutils xz-utils)
prepare() {
    awk 'BEGIN { for (i = 0; i < 1500000; i++) printf "%d word%d\n", (i * 7919) % 1000003, i % 5003 }' >lines.txt
}
run() {
    export LC_ALL=C
    sort --parallel=2 -S 64M "$INPUT/lines.txt" >sorted.txt
    sort -k2,2 -s "$INPUT/lines.txt" | sha256sum
    uniq -c sorted.txt | sha256sum
    xz -T2 -1 -c sorted.txt | xz -d | sha256sum
}
