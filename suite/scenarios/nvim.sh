# about: neovim edits a file of 120 000 lines by a script
# needs: nvim (apt-get install neovim)
prepare() {
    awk 'BEGIN { srand(1); for (i = 0; i < 120000; i++)
        printf "line %d: %d %s\n", i, (i * 7919) % 100003, (i % 3 ? "some words of text" : "# a heading") }' >text.txt
    cat >edit.vim <<'VIM'
%s/\v(\d+) some/<\1> SOME/g
g/# a heading$/normal! A, edited
v/heading/s/words/WORDS and more/
80000,$move 0
1000,40000global/7/normal! ddp
%yank a
normal! G"ap
1,40000delete
silent undo
silent redo
sort n /: /
%join!
undo
redir! > out/marks.txt
echo line('$') wordcount().bytes
redir END
write! out/text.txt
quitall!
VIM
}
run() {
    cp "$INPUT/text.txt" text.txt
    nvim --clean --headless -n -i NONE -S "$INPUT/edit.vim" text.txt
}
