# about: python3's own tests of json, threads, dicts, lists, strings and bytes
# means: no, most of its time is sleep
# needs: python3 (apt-get install python3 libpython3-testsuite)
prepare() {
    # The first python3 that has its tests with it.
    for python in $(which -a python3); do
        if "$python" -c 'import test.test_json' 2>/dev/null; then
            "$python" -c 'import sys; print(sys.executable)' >python
            return
        fi
    done
    echo "no python3 has its test suite: apt-get install libpython3-testsuite" >&2
    return 1
}
run() {
    # What is printed has times in it; what counts is that all of them pass.
    PYTHONMALLOC=malloc PYTHONHASHSEED=0 "$(cat "$INPUT/python")" -m test -q \
        -i test_import_from_another_thread \
        test_json test_threading test_dict test_list test_set test_bytes test_unicode test_array \
        test_deque test_generators test_gc test_weakref test_memoryview test_thread >tests.log 2>&1 || { tail -30 tests.log >&2; return 1; }
    grep -E 'SUCCESS' tests.log
}
