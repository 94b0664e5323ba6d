/* SPDX-License-Identifier: Apache-2.0
 * include/base/spsc.h: the ring of one producer and one consumer, with the indices that each side remembers of the other.
 *
 * Memory is weaker than any machine's: a store waits in the producer's buffer and becomes visible in any order, unless it is a release,
 * which waits for what was stored before it; a load that is no acquire lets the next load be done earlier.
 * Claims: every item arrives, once and in order; nobody waits for ever (an invalid end state).
 * Must fail with -DNO_RELEASE_TAIL, -DNO_ACQUIRE_TAIL, -DNO_RELEASE_HEAD. */
#define SLOTS 2
#define ITEMS 5

byte slot[SLOTS], tail, head;             /* what everybody sees */
byte slot_later[SLOTS], tail_later;       /* in the producer's buffer */
bool slot_waits[SLOTS], tail_waits;

proctype producer_buffer()
{
    do
    :: atomic { slot_waits[0] -> slot[0] = slot_later[0]; slot_waits[0] = false }
    :: atomic { slot_waits[1] -> slot[1] = slot_later[1]; slot_waits[1] = false }
#ifdef NO_RELEASE_TAIL
    :: atomic { tail_waits -> tail = tail_later; tail_waits = false }
#else
    :: atomic { tail_waits && !slot_waits[0] && !slot_waits[1] -> tail = tail_later; tail_waits = false }
#endif
    :: tail == ITEMS && !slot_waits[0] && !slot_waits[1] && !tail_waits -> break
    od
}

proctype producer()
{
    byte next = 0, head_seen = 0;
    do
    :: next == ITEMS -> break
    :: next < ITEMS && next - head_seen == SLOTS -> head_seen = head /* acquire */
    :: next < ITEMS && next - head_seen < SLOTS && !tail_waits && !slot_waits[next % SLOTS] ->
        atomic { slot_later[next % SLOTS] = next + 1; slot_waits[next % SLOTS] = true }
        next++;
        atomic { tail_later = next; tail_waits = true }
    od
}

proctype consumer()
{
    byte next = 0, tail_seen = 0, item = 0;
    bool early;
    do
    :: next == ITEMS -> break
    :: next < ITEMS ->
        early = false;
#ifdef NO_ACQUIRE_TAIL
        if
        :: item = slot[next % SLOTS]; early = true
        :: skip
        fi;
#endif
        if
        :: next == tail_seen -> tail_seen = tail
        :: else
        fi;
        if
        :: next == tail_seen -> skip
        :: else ->
#ifdef NO_RELEASE_HEAD
            head = next + 1;
#endif
            if
            :: !early -> item = slot[next % SLOTS]
            :: else
            fi;
            assert(item == next + 1);
            next++;
            head = next
        fi
    od
}

init { atomic { run producer_buffer(); run producer(); run consumer() } }
