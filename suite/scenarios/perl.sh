# about: perl, hashes, regular expressions, sorting, strings
# needs: perl (apt-get install perl)
prepare() {
    cat >work.pl <<'PERL'
use strict; use warnings; use Digest::SHA 'sha256_hex';
my ($state, %count, @lines) = (1);
sub draw { $state = ($state * 1103515245 + 12345) % 2147483648; return int($state / 65536) % $_[0]; }
for my $i (1 .. 150000) {
    push @lines, join ' ', map { substr('abcdefghijklmnopqrstuvwxyz', draw(20), 1 + draw(6)) } 1 .. 5;
}
for my $line (@lines) {
    $count{$_}{length $line}++ for split / /, $line;
    $line =~ s/([aeiou])(\w+)/$2$1/g;
}
my $text = join "\n", sort { length $a <=> length $b or $a cmp $b } @lines;
my %copy = map { $_ => [ sort keys %{ $count{$_} } ] } keys %count;
my $sum = ''; $sum .= "$_:@{ $copy{$_} };" for sort keys %copy;
my @matrix = map { [ map { draw(1000) } 1 .. 300 ] } 1 .. 300;
my $total = 0; for my $row (@matrix) { $total += $_ for @$row }
print sha256_hex($text), "\n", sha256_hex($sum), "\n$total\n";
PERL
}
run() { PERL_HASH_SEED=0 perl "$INPUT/work.pl"; }
