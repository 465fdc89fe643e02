# about: lua, tables, strings and closures under its collector
# needs: lua5.4 (apt-get install lua5.4)
prepare() {
    cat >work.lua <<'LUA'
local state = 1
local function draw(n) state = (state * 1103515245 + 12345) % 2147483648; return state // 65536 % n end
local live, sum = {}, 0
for i = 1, 1200000 do
    local kind = draw(4)
    if kind == 0 then live[draw(50000)] = { i, { name = "item" .. i, next = live[draw(50000)] and i } }
    elseif kind == 1 then live[draw(50000)] = ("text"):rep(draw(12)) .. i
    elseif kind == 2 then local up = i; live[draw(50000)] = function() return up end
    else
        local value = live[draw(50000)]
        if type(value) == "string" then sum = sum + #value
        elseif type(value) == "function" then sum = sum + value() % 7
        elseif value then sum = sum + value[1] % 5 end
    end
end
local parts = {}
for i = 1, 200000 do parts[#parts + 1] = tostring(draw(1000000)) end
table.sort(parts)
local text = table.concat(parts, ",")
local count = 0
for word in text:gmatch("%d+") do count = count + #word end
print(sum, count, #text)
LUA
}
run() { lua5.4 "$INPUT/work.lua"; }
