/* SPDX-License-Identifier: Apache-2.0
 * engine/shard/txn.c and intents.c: transactions on two workers, numbered under a lock, queued by number, granted first come first served.
 *
 *   coordinator                                              participant
 *   lock; n = ++last; a message to each ring;                mark = watermark; empty all rings;
 *   watermark = n; unlock                                    enqueue what arrived with a number <= mark, by number
 *   wait until all participants have granted                 grant what stands in front, readers beside readers
 *   work on one worker, then on the other; release           release: out of the queue
 *
 * Memory: a message and the watermark wait in the coordinator's buffer; the watermark, a release, waits for the messages before it, and
 * the unlocking for both. (All threads see a store at the same time: where they do not, the watermark must be a release, which is not shown.)
 * A ring's inbox bit and the receiver's wake-up are wake.pml's matter.
 * Claims: each participant enqueues by ascending numbers; a reader sees both writes of a writer or none; everybody comes to an end.
 * Must fail with -DNO_LOCK, -DNO_RELEASE, -DLATE_WATERMARK, -DNO_WATERMARK, -DEARLY_RELEASE, -DNO_INTENTS. */
#define COORDINATORS 2
#define PARTICIPANTS 2
#define EACH         2 /* transactions of a coordinator: it writes first, then reads */
#define SLOT(c, p)   ((c) * PARTICIPANTS + (p))

#ifdef NO_INTENTS
#define BESIDE(a, b) true
#else
#define BESIDE(a, b) (reads[a] && reads[b])
#endif

bool lock;
byte last, watermark;
byte message[4], watermark_later[COORDINATORS]; /* in the buffers: by SLOT, by coordinator; 0 = nothing */
byte ring[4];                                   /* by SLOT: a number that lies there, 0 = none */
byte granted[4];                                /* by SLOT */
bool released[4];                               /* by SLOT: the participant has not taken it out yet */
bool reads[COORDINATORS];                       /* what the coordinator's transaction is */
byte value[PARTICIPANTS];
byte done;

inline take_lock()
{
#ifdef NO_LOCK
    skip
#else
    atomic { !lock -> lock = true }
#endif
}

proctype buffer(byte c)
{
end:
    do
    :: atomic { message[SLOT(c, 0)] != 0 && ring[SLOT(c, 0)] == 0 -> ring[SLOT(c, 0)] = message[SLOT(c, 0)]; message[SLOT(c, 0)] = 0 }
    :: atomic { message[SLOT(c, 1)] != 0 && ring[SLOT(c, 1)] == 0 -> ring[SLOT(c, 1)] = message[SLOT(c, 1)]; message[SLOT(c, 1)] = 0 }
    :: atomic { watermark_later[c] != 0 && message[SLOT(c, 0)] == 0 && message[SLOT(c, 1)] == 0 ->
                watermark = watermark_later[c]; watermark_later[c] = 0 }
    od
}

proctype coordinator(byte c)
{
    byte n = 0, i = 0, first;
    do
    :: i == EACH -> break
    :: i < EACH ->
        reads[c] = (i % 2 == 1);
        take_lock();
        atomic { last++; n = last }
        message[SLOT(c, 0)] = n;
        message[SLOT(c, 1)] = n;
        watermark_later[c] = n;
#ifdef NO_RELEASE
        lock = false;
#else
        atomic { message[SLOT(c, 0)] == 0 && message[SLOT(c, 1)] == 0 && watermark_later[c] == 0 -> lock = false }
#endif
        granted[SLOT(c, 0)] && granted[SLOT(c, 1)];
        if
        :: reads[c] ->
            first = value[0];
            assert(first == value[1])
        :: !reads[c] ->
            first = value[0];
            value[0] = first + 1;
#ifdef EARLY_RELEASE
            atomic { granted[SLOT(c, 0)] = 0; released[SLOT(c, 0)] = true }
            atomic { granted[SLOT(c, 1)] = 0; released[SLOT(c, 1)] = true }
#endif
            first = value[1];
            value[1] = first + 1
        fi;
#ifdef EARLY_RELEASE
        if
        :: reads[c] ->
#endif
        atomic { granted[SLOT(c, 0)] = 0; released[SLOT(c, 0)] = true }
        atomic { granted[SLOT(c, 1)] = 0; released[SLOT(c, 1)] = true }
#ifdef EARLY_RELEASE
        :: else
        fi;
#endif
        !released[SLOT(c, 0)] && !released[SLOT(c, 1)];
        i++
    od;
    atomic {
        done++;
        if
        :: done == COORDINATORS -> assert(value[0] == EACH / 2 * COORDINATORS && value[1] == value[0])
        :: else
        fi
    }
}

/* The queue: at most one ticket of each coordinator. ticket[0] stands in front; values are coordinator + 1. */
proctype participant(byte p)
{
    byte mark, c, admitted = 0, length = 0;
    bool spare = true; /* a turn that began for other reasons */
    byte ticket[2], pending[2]; /* pending: by coordinator, the number that arrived and is not enqueued yet */
end:
    do
    :: /* a turn: mail */
        if
        :: (ring[SLOT(0, p)] != 0 || ring[SLOT(1, p)] != 0 || pending[0] != 0 || pending[1] != 0)
        :: atomic { spare -> spare = false }
        fi;
#ifndef LATE_WATERMARK
        mark = watermark;
#endif
        c = 0;
        do
        :: c < COORDINATORS ->
            atomic {
                if
                :: ring[SLOT(c, p)] != 0 -> pending[c] = ring[SLOT(c, p)]; ring[SLOT(c, p)] = 0
                :: else
                fi;
                c++
            }
        :: c == COORDINATORS -> break
        od;
#ifdef LATE_WATERMARK
        mark = watermark;
#endif
#ifdef NO_WATERMARK
        mark = 255;
#endif
        atomic {
            do
            :: pending[0] != 0 && pending[0] <= mark && (pending[1] == 0 || pending[0] < pending[1]) ->
                assert(pending[0] > admitted); admitted = pending[0]; pending[0] = 0; ticket[length] = 1; length++
            :: pending[1] != 0 && pending[1] <= mark && (pending[0] == 0 || pending[1] < pending[0]) ->
                assert(pending[1] > admitted); admitted = pending[1]; pending[1] = 0; ticket[length] = 2; length++
            :: else -> break
            od
        }
    :: atomic { /* the first in line is granted */
        length > 0 && !granted[SLOT(ticket[0] - 1, p)] && !released[SLOT(ticket[0] - 1, p)] -> granted[SLOT(ticket[0] - 1, p)] = 1 }
    :: atomic { /* and the second, if both read */
        (length > 1 && !granted[SLOT(ticket[1] - 1, p)] && !released[SLOT(ticket[1] - 1, p)] && BESIDE(ticket[0] - 1, ticket[1] - 1)) ->
        granted[SLOT(ticket[1] - 1, p)] = 1 }
    :: atomic { length > 0 && released[SLOT(ticket[0] - 1, p)] ->
        released[SLOT(ticket[0] - 1, p)] = false; ticket[0] = ticket[1]; ticket[1] = 0; length-- }
    :: atomic { length > 1 && released[SLOT(ticket[1] - 1, p)] ->
        released[SLOT(ticket[1] - 1, p)] = false; ticket[1] = 0; length-- }
    od
}

init { atomic { run buffer(0); run buffer(1); run participant(0); run participant(1); run coordinator(0); run coordinator(1) } }
