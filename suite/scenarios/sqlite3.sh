# about: sqlite3, a million rows, indexes, deletes, vacuum
# needs: sqlite3 (apt-get install sqlite3)
prepare() { :; }
run() {
    sqlite3 out/rows.db <<'SQL'
PRAGMA journal_mode = memory;
PRAGMA cache_size = -65536;
CREATE TABLE rows (id INTEGER PRIMARY KEY, name TEXT, amount INTEGER, note TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
INSERT INTO rows SELECT i, 'name' || (i * 7919 % 1000003), i * 31 % 9973,
    substr('a note of some length that differs from row to row', 1, i % 50) FROM n;
CREATE INDEX by_name ON rows (name);
CREATE INDEX by_amount ON rows (amount, name);
SELECT count(*), sum(amount), max(name) FROM rows;
SELECT amount, count(*), group_concat(id) FROM rows WHERE amount < 200 GROUP BY amount;
UPDATE rows SET note = note || name WHERE amount % 7 = 0;
DELETE FROM rows WHERE id % 3 = 0;
SELECT count(DISTINCT note) FROM rows;
SELECT a.id, b.id FROM rows a JOIN rows b ON a.amount = b.id WHERE a.id < 20000 ORDER BY b.name;
VACUUM;
PRAGMA integrity_check;
SQL
}
