# about: php, arrays of strings, JSON, regular expressions; it opens its extensions with RTLD_DEEPBIND
# needs: php (apt-get install php-cli)
prepare() {
    cat >work.php <<'PHP'
<?php
$state = 1;
function draw(int $below): int {
    global $state;
    $state = ($state * 1103515245 + 12345) % 2147483648;
    return ($state >> 16) % $below;
}
ini_set('memory_limit', '1G');
$rows = [];
for ($i = 0; $i < 200000; $i++) {
    $rows["key$i"] = ['id' => $i, 'text' => str_repeat(chr(97 + draw(26)), draw(90)), 'tags' => range(0, draw(6))];
}
$json = json_encode($rows);
preg_match_all('/"key(\d+)":\{"id":(\d+)/', $json, $found);
$back = json_decode($json, true);
uasort($back, fn($a, $b) => strlen($a['text']) <=> strlen($b['text']) ?: $a['id'] <=> $b['id']);
$words = [];
foreach ($back as $row) {
    $words[strlen($row['text'])][] = strtoupper(strrev($row['text']));
    if (draw(3) == 0) unset($rows["key{$row['id']}"]);
}
echo hash('sha256', $json), ' ', count($found[1]), ' ', count($rows), ' ', hash('sha256', serialize($words)), "\n";
PHP
}
run() { php "$INPUT/work.php"; }
