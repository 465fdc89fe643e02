# about: node, buffers, JSON, maps, worker threads
# needs: node (apt-get install nodejs)
prepare() {
    cat >work.js <<'JS'
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const { createHash } = require('crypto');
const zlib = require('zlib');

function work(seed) {
    let state = seed + 1;
    const draw = (n) => { state = (Math.imul(state, 1103515245) + 12345) >>> 0; return (state >>> 8) % n; };
    const buffers = [], index = new Map();
    for (let i = 0; i < 30000; i++) {
        const buffer = Buffer.allocUnsafeSlow(1 + draw(9000)).fill(i % 251);
        buffers[draw(2000)] = buffer;
        index.set(`key${draw(20000)}`, { size: buffer.length, tags: [i, draw(100)] });
    }
    const hash = createHash('sha256');
    for (const buffer of buffers) if (buffer) hash.update(buffer);
    const text = JSON.stringify([...index]);
    hash.update(JSON.stringify(JSON.parse(text)));
    hash.update(zlib.inflateSync(zlib.deflateSync(Buffer.from(text))));
    return hash.digest('hex');
}

if (isMainThread) {
    const results = {};
    let left = 3;
    for (let seed = 0; seed < 3; seed++) {
        new Worker(__filename, { workerData: seed }).on('message', (digest) => {
            results[seed] = digest;
            if (--left === 0) { results.main = work(9); console.log(JSON.stringify(results, Object.keys(results).sort())); }
        });
    }
} else {
    parentPort.postMessage(work(workerData));
}
JS
}
run() { node "$INPUT/work.js"; }
