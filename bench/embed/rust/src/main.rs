// SPDX-License-Identifier: Apache-2.0
//! DashMap and Moka under the same harness as bench/embed/harness.h: same keys, same draws, same lines. Change both.
//! Both hold Vec<u8> by [u8; 16], DashMap with its own sharded locks, Moka (its values behind Arc) with a capacity that nothing reaches.
//! DashMap has no deadlines, so it leaves those workloads out; Moka's are in a second cache whose entries live an hour.

use dashmap::DashMap;
use moka::sync::Cache;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

type Key = [u8; 16];

trait Peer: Sync + Send {
    fn set(&self, key: Key, value: &[u8], ttl: bool);
    fn get_copy(&self, key: &Key, to: &mut [u8]) -> bool;
    fn get_view(&self, key: &Key) -> i32;
    /// From now on with deadlines. False: there are none.
    fn use_ttl(&self) -> bool;
}

fn ends(v: &[u8]) -> i32 {
    v[0] as i32 + v[v.len() - 1] as i32
}

struct Dash(DashMap<Key, Vec<u8>>);

impl Peer for Dash {
    #[inline(always)]
    fn set(&self, key: Key, value: &[u8], _ttl: bool) {
        self.0.insert(key, value.to_vec());
    }
    #[inline(always)]
    fn get_copy(&self, key: &Key, to: &mut [u8]) -> bool {
        match self.0.get(key) {
            Some(v) => {
                to[..v.len()].copy_from_slice(&v);
                true
            }
            None => false,
        }
    }
    #[inline(always)]
    fn get_view(&self, key: &Key) -> i32 {
        self.0.get(key).map_or(-1, |v| ends(&v))
    }
    fn use_ttl(&self) -> bool {
        false
    }
}

struct Moka {
    plain: Cache<Key, Arc<Vec<u8>>>,
    timed: Cache<Key, Arc<Vec<u8>>>,
    is_timed: AtomicBool,
}

impl Moka {
    fn new() -> Moka {
        let capacity = || Cache::builder().max_capacity(1 << 40);
        Moka {
            plain: capacity().build(),
            timed: capacity().time_to_live(Duration::from_secs(3600)).build(),
            is_timed: AtomicBool::new(false),
        }
    }
    #[inline(always)]
    fn cache(&self) -> &Cache<Key, Arc<Vec<u8>>> {
        if self.is_timed.load(Ordering::Relaxed) {
            &self.timed
        } else {
            &self.plain
        }
    }
}

impl Peer for Moka {
    #[inline(always)]
    fn set(&self, key: Key, value: &[u8], _ttl: bool) {
        self.cache().insert(key, Arc::new(value.to_vec()));
    }
    #[inline(always)]
    fn get_copy(&self, key: &Key, to: &mut [u8]) -> bool {
        match self.cache().get(key) {
            Some(v) => {
                to[..v.len()].copy_from_slice(&v);
                true
            }
            None => false,
        }
    }
    #[inline(always)]
    fn get_view(&self, key: &Key) -> i32 {
        self.cache().get(key).map_or(-1, |v| ends(&v))
    }
    fn use_ttl(&self) -> bool {
        self.plain.invalidate_all();
        self.is_timed.store(true, Ordering::Relaxed);
        true
    }
}

fn key_make(number: u64) -> Key {
    let mut key = [0u8; 16];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e3779b97f4a7c15).to_le_bytes());
    key[8..].copy_from_slice(&number.to_le_bytes());
    key
}

fn draw_below(state: &mut u64, bound: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    ((*state >> 32) * bound) >> 32
}

fn cpu_seconds() -> f64 {
    let mut t = libc_timespec { sec: 0, nsec: 0 };
    unsafe { clock_gettime(3, &mut t) }; // CLOCK_THREAD_CPUTIME_ID
    t.sec as f64 + t.nsec as f64 * 1e-9
}

#[repr(C)]
struct libc_timespec {
    sec: i64,
    nsec: i64,
}
extern "C" {
    fn clock_gettime(id: i32, t: *mut libc_timespec) -> i32;
}

const ORDER: [&str; 6] = ["get", "view", "80/20", "set", "get+ttl", "view+ttl"];
const CHUNK: u64 = 512;

struct Config {
    items: u64,
    value: usize,
    threads: u64,
    seconds: f64,
    only: String,
}

// (done, missed, cpu, wall)
fn run<P: Peer>(p: &P, c: &Config, workload: &str, state: &mut u64, value: &[u8], to: &mut [u8]) -> (u64, u64, f64, f64) {
    let (begin, cpu) = (Instant::now(), cpu_seconds());
    let (mut done, mut missed, mut sink) = (0u64, 0u64, 0u64);
    loop {
        for i in 0..CHUNK {
            let key = key_make(draw_below(state, c.items));
            if workload == "set" || (workload == "80/20" && i % 5 == 4) {
                p.set(key, value, false);
            } else if workload.starts_with("view") {
                let seen = p.get_view(&key);
                missed += (seen < 0) as u64;
                sink = sink.wrapping_add(seen as u64);
            } else {
                missed += !p.get_copy(&key, to) as u64;
                sink = sink.wrapping_add(to[0] as u64);
            }
        }
        done += CHUNK;
        let wall = begin.elapsed().as_secs_f64();
        if wall >= c.seconds {
            std::hint::black_box(sink);
            return (done, missed, cpu_seconds() - cpu, wall);
        }
    }
}

fn load<P: Peer>(p: &P, c: &Config, thread: u64, value: &[u8]) {
    let mut number = thread;
    while number < c.items {
        p.set(key_make(number), value, true);
        number += c.threads;
    }
}

fn work<P: Peer>(p: Arc<P>, c: &Config) {
    let barrier = Barrier::new(c.threads as usize);
    let results = std::sync::Mutex::new(Vec::new());
    let has_ttl = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for t in 0..c.threads {
            let (p, barrier, results) = (p.clone(), &barrier, &results);
            let has_ttl = &has_ttl;
            scope.spawn(move || {
                let mut state = 88172645463325252u64 + t * 7919;
                let value = vec![b'v'; c.value];
                let mut to = vec![0u8; c.value];
                load(&*p, c, t, &value);
                for workload in ORDER {
                    if !c.only.is_empty() && c.only != workload {
                        continue;
                    }
                    if workload == "get+ttl" {
                        barrier.wait();
                        if t == 0 {
                            has_ttl.store(p.use_ttl(), Ordering::Relaxed);
                        }
                        barrier.wait();
                        if !has_ttl.load(Ordering::Relaxed) {
                            break;
                        }
                        load(&*p, c, t, &value);
                    }
                    barrier.wait();
                    let mine = run(&*p, c, workload, &mut state, &value, &mut to);
                    results.lock().unwrap().push(mine);
                    barrier.wait();
                    if t == 0 {
                        let mut all = results.lock().unwrap();
                        let done: u64 = all.iter().map(|r| r.0).sum();
                        let missed: u64 = all.iter().map(|r| r.1).sum();
                        let cpu: f64 = all.iter().map(|r| r.2).sum();
                        let rate: f64 = all.iter().map(|r| r.0 as f64 / r.3).sum();
                        println!("{} {:.2} {:.3} {}", workload, cpu * 1e9 / done as f64, rate * 1e-6, missed);
                        all.clear();
                    }
                    barrier.wait();
                }
            });
        }
    });
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let arg = |name: &str, otherwise: &str| -> String {
        args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).cloned().unwrap_or_else(|| otherwise.into())
    };
    let c = Config {
        items: arg("--items", "100000").parse().expect("--items N"),
        value: arg("--value", "64").parse().expect("--value BYTES"),
        threads: arg("--threads", "1").parse().expect("--threads N"),
        seconds: arg("--seconds", "0.2").parse().expect("--seconds S"),
        only: arg("--only", ""),
    };
    match arg("--peer", "dashmap").as_str() {
        "dashmap" => work(Arc::new(Dash(DashMap::new())), &c),
        "moka" => work(Arc::new(Moka::new()), &c),
        other => panic!("--peer dashmap or moka, not {other}"),
    }
}
