# about: graphviz, laying a graph out, many small chunks
# needs: dot (apt-get install graphviz)
prepare() {
    local state=1
    {
        echo 'digraph {'
        for ((i = 0; i < 320; i++)); do
            state=$(((state * 1103515245 + 12345) % 2147483648))
            echo "n$((state / 65536 % 140)) -> n$((state / 256 % 140)) [label=\"edge $i\"]"
        done
        echo '}'
    } >graph.dot
}
run() { dot -Tsvg "$INPUT/graph.dot"; dot -Tplain "$INPUT/graph.dot"; }
