/* SPDX-License-Identifier: Apache-2.0
 * engine/shard/mesh.c and reactor/wait.h: mail in a ring, a bit in the receiver's inbox, and a wake-up only for those that sleep.
 *
 *   sender                                          receiver
 *   tail = ..            (release)                  collect: if the bit stands, take it (exchange), fence, empty the ring
 *   fence; bit stands already? else set it (rmw)    nothing: asleep = 1; fence; the bit stands? asleep = 0, again
 *   fence; asleep? exchange it, write the eventfd   else sleep until the eventfd says so
 *
 * Memory: plain stores wait in a buffer until a fence of their thread empties it. A read-modify-write is done at once, but a load behind it
 * may be done between its read and its write, as on machines with load-linked and store-conditional, unless a fence stands between.
 * Claim: everything sent is received; a receiver that sleeps with mail is an invalid end state.
 * Must fail with -DNO_PUSH_FENCE, -DNO_WAKE_FENCE, -DNO_SLEEP_FENCE, -DNO_COLLECT_FENCE. */
#define ITEMS 3

byte tail, tail_later;
bool tail_waits;
bool mail, asleep, asleep_later, asleep_waits, event;

inline sender_fence() { !tail_waits }
inline receiver_fence() { !asleep_waits }

proctype buffers()
{
end:
    do
    :: atomic { tail_waits -> tail = tail_later; tail_waits = false }
    :: atomic { asleep_waits -> asleep = asleep_later; asleep_waits = false }
    od
}

proctype sender()
{
    byte sent = 0;
    bool sees_asleep, looked;
    do
    :: sent == ITEMS -> break
    :: sent < ITEMS ->
        !tail_waits;
        sent++;
        atomic { tail_later = sent; tail_waits = true }
#ifndef NO_PUSH_FENCE
        sender_fence();
#endif
        looked = false;
        if
        :: mail -> skip
        :: !mail ->
#ifdef NO_WAKE_FENCE
            if
            :: atomic { sees_asleep = asleep; looked = true }
            :: skip
            fi;
#endif
            mail = true
        fi;
#ifndef NO_WAKE_FENCE
        sender_fence();
#endif
        if
        :: !looked -> sees_asleep = asleep
        :: else
        fi;
        if
        :: sees_asleep ->
            if /* exchange: whoever takes it from 1 to 0 writes the eventfd */
            :: atomic { asleep -> asleep = false; event = true }
            :: atomic { !asleep -> skip }
            fi
        :: else
        fi
    od
}

proctype receiver()
{
    byte received = 0, seen = 0;
    bool early;
    do
    :: received == ITEMS -> break
    :: received < ITEMS ->
        early = false;
        if
        :: mail ->
#ifdef NO_COLLECT_FENCE
            if
            :: atomic { seen = tail; early = true }
            :: skip
            fi;
#endif
            mail = false;
            if
            :: !early -> seen = tail
            :: else
            fi;
            received = seen
        :: !mail ->
            receiver_fence(); /* one store of it at a time */
            atomic { asleep_later = true; asleep_waits = true }
#ifndef NO_SLEEP_FENCE
            receiver_fence();
#endif
            if
            :: mail ->
                receiver_fence();
                asleep = false
            :: !mail ->
                event;
                event = false;
                receiver_fence();
                asleep = false
            fi
        fi
    od
}

init { atomic { run buffers(); run sender(); run receiver() } }
