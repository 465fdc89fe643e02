# about: git, gc --aggressive of a clone of this repository, fsck and log
# needs: git (apt-get install git)
prepare() {
    git clone --quiet --bare --no-local "$REPOSITORY" history.git
}
run() {
    cp -r "$INPUT/history.git" history.git
    cd history.git
    # One thread: several divide the work by who is first, and packs differ.
    git -c pack.threads=1 -c gc.aggressiveDepth=50 -c gc.aggressiveWindow=100 gc --quiet --aggressive --prune=now
    git fsck --full 2>&1
    git count-objects -v | grep -E '^(count|in-pack|packs|garbage)'
    git log -p --stat --format='%T %s' | sha256sum
    git grep -c free "$(git rev-parse HEAD)" | sha256sum
}
