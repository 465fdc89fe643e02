# about: python3, json, dicts, strings and threads, every object by malloc
# needs: python3 (apt-get install python3)
prepare() {
    cat >work.py <<'PYTHON'
import hashlib, json, random, threading

random.seed(1)
words = ["".join(random.choices("abcdefghij", k=random.randint(1, 20))) for _ in range(5000)]

def record(r, i):
    return {"id": i, "tags": r.choices(words, k=r.randint(0, 12)), "text": " ".join(r.choices(words, k=8)),
            "nested": {"values": [r.random() for _ in range(r.randint(0, 6))], "flag": i % 3 == 0}}

def work(seed, out):
    r = random.Random(seed)
    records = [record(r, i) for i in range(12000)]
    text = json.dumps(records, sort_keys=True)
    again = json.loads(text)
    index = {}
    for one in again:
        for tag in one["tags"]:
            index.setdefault(tag, set()).add(one["id"])
    text2 = json.dumps({k: sorted(v) for k, v in sorted(index.items())}, indent=1)
    joined = ""
    for k in sorted(index)[:3000]:
        joined += k
    again.sort(key=lambda one: (one["text"], one["id"]))
    out[seed] = hashlib.sha256((text + text2 + joined + str(again[:100])).encode()).hexdigest()

out = {}
threads = [threading.Thread(target=work, args=(seed, out)) for seed in range(4)]
for t in threads: t.start()
for t in threads: t.join()
for seed in sorted(out): print(seed, out[seed])
PYTHON
}
run() { PYTHONMALLOC=malloc PYTHONHASHSEED=0 python3 -S "$INPUT/work.py"; }
