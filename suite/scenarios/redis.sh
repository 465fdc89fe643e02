# about: redis, its own benchmark, 200 000 keys, save and reload; the server is measured
# needs: redis-server redis-cli redis-benchmark (apt-get install redis-server)
# own: it links jemalloc, so glibc's malloc takes a preload of the C library
prepare() {
    awk 'BEGIN { for (i = 0; i < 200000; i++) {
        printf "SET key:%d %0*d\r\n", i, i % 300 + 1, i
        if (i % 4 == 0) printf "HSET hash:%d field%d value%d\r\n", i % 1000, i, i
        if (i % 4 == 1) printf "RPUSH list:%d element%d\r\n", i % 500, i
        if (i % 4 == 2) printf "ZADD scores:%d %d member%d\r\n", i % 100, i % 7919, i
        if (i % 4 == 3) printf "APPEND text:%d more\r\n", i % 2000
        if (i % 5 == 0) printf "DEL key:%d\r\n", i / 2
    } }' >load.txt
}
# The clients run without the allocator: what they take is not the server's.
client() { env -u LD_PRELOAD redis-cli -s redis.sock "$@"; }
run() {
    redis-server --port 0 --unixsocket "$PWD/redis.sock" --dir "$PWD/out" --save '' \
        --enable-debug-command yes --daemonize no >redis.log 2>&1 &
    server=$!
    until client ping >/dev/null 2>&1; do
        kill -0 $server || { cat redis.log >&2; return 1; }
        sleep 0.02
    done
    env -u LD_PRELOAD redis-benchmark -s redis.sock -q -n 60000 -r 50000 -P 8 -c 20 \
        -t set,get,incr,lpush,rpop,sadd,hset,zadd,mset >/dev/null
    client flushall
    client --pipe <"$INPUT/load.txt" | tail -1
    client debug digest
    client save
    client debug reload
    client debug digest
    client dbsize
    client shutdown nosave || true
    wait $server
    rm -f out/dump.rdb   # it carries the time of the save
}
