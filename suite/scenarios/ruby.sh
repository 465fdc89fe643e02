# about: ruby, hashes of strings, threads, sorting, the garbage collector
# needs: ruby (apt-get install ruby)
prepare() {
    cat >work.rb <<'RUBY'
require 'digest'
random = Random.new(7)
rows = {}
80_000.times { |i| rows["key#{i}"] = { id: i, text: ('a'..'z').to_a.sample(random: random) * random.rand(90) } }
rows.delete_if { |_, row| row[:id] % 3 == 0 }
sums = 4.times.map do |part|
  Thread.new { rows.values.select { |row| row[:id] % 4 == part }.map { |row| row[:text].reverse.sub(/^(.)(.)/, '\2\1') }.join }
end.map(&:value)
sorted = rows.values.sort_by { |row| [row[:text].size, row[:id]] }
grouped = sorted.group_by { |row| row[:text][0] }
6.times { GC.start; rows.each_value { |row| row[:text] += 'x' } }
puts rows.size, Digest::SHA256.hexdigest(sums.join), Digest::SHA256.hexdigest(grouped.inspect)
RUBY
}
run() { ruby "$INPUT/work.rb"; }
