//! Every backend that comes with mallocer, in both forms, under the whole suite.

macro_rules! backends {
    ($($backend:ident: $single:ty, $shared:ty;)+) => {$(
        mod $backend {
            #[test]
            fn single() {
                mallocer_conformance::check::<$single>();
            }

            #[test]
            fn shared() {
                mallocer_conformance::check_shared::<$shared>();
            }
        }
    )+};
}

backends! {
    flist: mallocer_flist::Flist, mallocer_flist::SharedFlist;
    malloc: mallocer_malloc::Malloc, mallocer_malloc::SharedMalloc;
    jemalloc: mallocer_jemalloc::Jemalloc, mallocer_jemalloc::SharedJemalloc;
    mimalloc: mallocer_mimalloc::Mimalloc, mallocer_mimalloc::SharedMimalloc;
}
