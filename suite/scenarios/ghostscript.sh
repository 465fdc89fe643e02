# about: ghostscript renders twenty pages of text and curves
# needs: gs (apt-get install ghostscript)
prepare() {
    awk 'BEGIN { print "%!PS"; for (page = 0; page < 20; page++) {
        print "/Times-Roman findfont 9 scalefont setfont"
        for (line = 0; line < 70; line++)
            printf "40 %d moveto (page %d, line %d: the quick brown fox jumps over %d lazy dogs) show\n", 780 - line * 10, page, line, page * line
        for (curve = 0; curve < 120; curve++)
            printf "%f %f %f setrgbcolor newpath %d %d moveto %d %d %d %d %d %d curveto stroke\n", curve % 7 / 7, curve % 5 / 5, curve % 3 / 3, curve * 4, page * 30, curve * 3 + 50, 700, 500 - curve, 20 * page, 300, curve * 6
        print "showpage" } }' >pages.ps
}
run() {
    gs -q -dBATCH -dNOPAUSE -dSAFER -sDEVICE=png16m -r150 -sOutputFile=out/page%d.png "$INPUT/pages.ps"
    gs -q -dBATCH -dNOPAUSE -dSAFER -sDEVICE=ps2write -sOutputFile=- "$INPUT/pages.ps" |
        grep -vaE 'Date|ID|Producer' | sha256sum
}
