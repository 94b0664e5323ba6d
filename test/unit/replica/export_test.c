// SPDX-License-Identifier: Apache-2.0
#include "replica/export.h"

#include <errno.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/test.h"
#include "persist/fcw2.h"
#include "persist/format.h"

static struct crc32_tables tables;

// ---- a worker's turn under construction

static struct buf turn;
static struct sub_batch sub;
static size_t sub_at;

static void turn_begin(uint16_t shard, uint64_t first)
{
    static uint8_t head[SUB_BATCH_HEAD];
    sub = (struct sub_batch){ .shard = shard, .first = first };
    sub_at = turn.len;
    buf_append(&turn, head, sizeof head);
}

static void turn_add(struct record r)
{
    r.sequence = sub.first + sub.count++;
    uint64_t len = record_size(&r);
    uint8_t *to = buf_reserve(&turn, len);
    record_encode(&r, sub.first, to);
    buf_advance(&turn, len);
    sub.bytes = (uint32_t)(turn.len - sub_at - SUB_BATCH_HEAD);
    sub_batch_encode(&sub, turn.data + sub_at);
}

static void turn_set(uint16_t db, const char *key, const char *value, int64_t deadline_ms)
{
    turn_add((struct record){ .op = RECORD_SET,
                              .flags = deadline_ms >= 0 ? RECORD_DEADLINE : 0,
                              .db = db,
                              .deadline_ms = deadline_ms,
                              .key = slice_cstr(key),
                              .value = slice_cstr(value) });
}

static struct export_block *turn_end(bool effects)
{
    struct export_block *b;
    check_equal(export_encode(&b, &tables, buf_view(&turn), 42, effects, NULL), 0);
    turn.len = 0;
    return b;
}

// A block of `count` frames `SET k<from + i> v`.
static struct export_block *block_of(uint32_t from, uint32_t count)
{
    char key[16];
    turn_begin(0, 1);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(key, sizeof key, "k%04u", from + i);
        turn_set(0, key, "v", -1);
    }
    return turn_end(false);
}

// ---- what a subscriber sees

struct view {
    uint8_t bytes[65536];
    size_t len;
};

// Sends at most `step` bytes at a time until nothing is left.
static void drain(struct export_queue *q, struct export_cursor *c, struct export_set *s, size_t step, struct view *to)
{
    while (export_set_fill(s, q, c)) {
        struct iovec pieces[EXPORT_PIECES];
        uint32_t count = export_set_view(s, pieces);
        size_t n = 0;
        for (uint32_t i = 0; i < count && n < step; i++) {
            size_t part = pieces[i].iov_len < step - n ? pieces[i].iov_len : step - n;
            memcpy(to->bytes + to->len, pieces[i].iov_base, part);
            to->len += part;
            n += part;
        }
        export_set_sent(s, n);
    }
}

static uint32_t first_key(const struct view *v)
{
    char text[8] = { 0 };
    memcpy(text, v->bytes + FCW2_HEAD + FCW2_RECORD_HEAD + 1, 4);
    return (uint32_t)atoi(text);
}

static uint32_t frames_in(const struct view *v)
{
    uint32_t count = 0;
    size_t at = 0;
    for (; at < v->len; count++) {
        check(memcmp(v->bytes + at, "FCW2", 4) == 0);
        at += FCW2_HEAD + load_u32(v->bytes + at + 5) + FCW2_CRC;
    }
    check_equal(at, v->len);
    return count;
}

// ---- tests

static void strings_become_the_frames_of_version_1(void)
{
    static const uint8_t WANT[] = {
        'F', 'C', 'W', '2', 0, 0x26, 0, 0, 0,   1,   5,   0,   0,   0,   4,   0,   0,   0,    42,   0,    0,    0,    0,    0,    0,    0,
        99,  0,   0,   0,   0, 0,    0, 0, 'a', 'l', 'p', 'h', 'a', 'b', 'e', 't', 'a', 0xc3, 0x83, 0x8d, 0x3d, 0xbd, 0x8c, 0xdf, 0x56,
    };
    turn_begin(3, 7);
    turn_set(0, "alpha", "beta", 99);
    turn_add((struct record){ .op = RECORD_DELETE, .deadline_ms = -1, .key = slice_cstr("alpha") });
    turn_add((struct record){ .op = RECORD_EXPIRE, .deadline_ms = -1, .key = slice_cstr("k") });
    turn_add((struct record){ .op = RECORD_EXPIRE, .flags = RECORD_DEADLINE, .deadline_ms = 1234, .key = slice_cstr("k") });
    struct export_block *b = turn_end(false);
    check_equal(b->frames, 4);
    check(memcmp(b->bytes, WANT, sizeof WANT) == 0);
    const uint8_t *third = b->bytes + sizeof WANT + (9 + 25 + 5 + 4 + 4);
    check(third[9] == FCW2_EXPIRE && (int64_t)load_u64(third + 9 + 17) == -1);
    const uint8_t *fourth = third + 9 + 25 + 1 + 4 + 4;
    check(fourth[9] == FCW2_EXPIRE && load_u64(fourth + 9 + 17) == 1234);
    export_block_free(b);
}

static void what_version_1_cannot_say_is_for_those_who_asked(void)
{
    static const uint8_t FLUSH[] = { 1, 0, 0, 0, 7, 0, 0, 0, 'F', 'L', 'U', 'S', 'H', 'D', 'B' };
    static const uint8_t WANT[] = { 3, 0, 0, 0,   6, 0, 0, 0, 'S', 'E', 'L', 'E', 'C', 'T', 1,
                                    0, 0, 0, '2', 7, 0, 0, 0, 'F', 'L', 'U', 'S', 'H', 'D', 'B' };
    turn_begin(3, 7);
    turn_add((struct record){ .op = RECORD_EFFECT, .db = 2, .deadline_ms = -1, .value = slice_of(FLUSH, sizeof FLUSH) });
    turn_set(1, "k", "v", 5);
    turn_set(0, "k", "v", -1);
    struct buf again = turn;
    struct export_block *b;
    check_equal(export_encode(&b, &tables, buf_view(&again), 42, false, NULL), 0);
    check_equal(b->frames, 1);
    export_block_free(b);
    b = turn_end(true);
    check_equal(b->frames, 3);
    check(b->bytes[4] == FCW2_EFFECT);
    const uint8_t *record = b->bytes + FCW2_HEAD;
    check(load_u32(record) == 3 && load_u64(record + 4) == 7 && load_u64(record + 12) == 42 && record[20] == 4);
    check(load_u64(record + 37) == UINT64_MAX && load_u32(record + 45) == 0);
    check(load_u32(record + 49) == sizeof WANT && memcmp(record + 53, WANT, sizeof WANT) == 0);
    const uint8_t *second = record + 53 + sizeof WANT + 4 + FCW2_HEAD;
    check(load_u64(second + 4) == 8 && load_u32(second + 45) == 1 && second[53] == 'k');
    check_equal(load_u32(second + 54), 2 + 5); // SELECT 1 SET k v PXAT 5
    export_block_free(b);
}

static bool value_now(struct export_values *v, uint32_t shard, struct slice key, struct slice *value, int64_t *deadline_ms)
{
    *value = slice_cstr("the whole of it");
    *deadline_ms = 77;
    return shard == 3 && key.data[0] == 'b';
}

static void a_change_of_a_part_is_told_as_the_whole(void)
{
    static const uint8_t RANGE[] = { 3, 0, 0, 0, 8, 0, 0, 0, 'S', 'E', 'T', 'R', 'A', 'N', 'G', 'E', 1, 0, 0, 0, '4', 1, 0, 0, 0, 'x' };
    struct export_values values = { .get = value_now };
    for (int effects = 0; effects < 2; effects++) {
        struct export_block *b;
        turn_begin(3, 7);
        for (const char *key = "bg"; *key != '\0'; key++) // of the second one nothing is left
            turn_add(
                (struct record){ .op = RECORD_EFFECT, .deadline_ms = -1, .key = slice_of(key, 1), .value = slice_of(RANGE, sizeof RANGE) });
        check_equal(export_encode(&b, &tables, buf_view(&turn), 42, effects == 1, &values), 0);
        turn.len = 0;
        check(b->frames == 1 && b->bytes[4] == 0 && b->bytes[9] == FCW2_SET && load_u64(b->bytes + 9 + 17) == 77);
        check(memcmp(b->bytes + 9 + 25, "bthe whole of it", 16) == 0);
        export_block_free(b);
    }
}

static void a_turn_without_words_for_anybody_is_no_block(void)
{
    turn_begin(0, 1);
    turn_set(1, "k", "v", -1);
    check(turn_end(false) == NULL);
    struct export_block *b;
    check_equal(export_encode(&b, &tables, slice_of("garbage garbage garbage", 20), 1, true, NULL), -EBADMSG);
    check(b == NULL);
}

static void everybody_sees_every_frame_in_order_whatever_the_socket_takes(void)
{
    static struct view view;
    for (size_t step = 1; step < 200; step += 13) {
        struct export_queue q;
        struct export_cursor c;
        struct export_set s = { .count = 0 };
        export_queue_init(&q, 100, false);
        export_cursor_join(&q, &c, false);
        for (uint32_t i = 0; i < 5; i++)
            check_equal(export_queue_push(&q, block_of(i * 3, 3)), 0);
        view.len = 0;
        drain(&q, &c, &s, step, &view);
        check_equal(frames_in(&view), 15);
        check(q.head == NULL && q.frames == 0 && q.bytes == 0);
        check(c.dropped == 0 && s.count == 0);
        export_cursor_leave(&q, &c);
        export_queue_deinit(&q);
    }
}

static void whoever_joins_sees_what_comes_after(void)
{
    static struct view view;
    struct export_queue q;
    struct export_cursor early, late;
    struct export_set s = { .count = 0 };
    export_queue_init(&q, 100, false);
    export_queue_push(&q, block_of(0, 2)); // nobody listens
    check(q.head == NULL);
    export_cursor_join(&q, &early, false);
    export_queue_push(&q, block_of(2, 2));
    export_cursor_join(&q, &late, false);
    export_queue_push(&q, block_of(4, 2));
    view.len = 0;
    drain(&q, &late, &s, 1000, &view);
    check(frames_in(&view) == 2 && first_key(&view) == 4);
    view.len = 0;
    drain(&q, &early, &s, 1000, &view);
    check(frames_in(&view) == 4 && first_key(&view) == 2);
    export_cursor_leave(&q, &early);
    export_cursor_leave(&q, &late);
    export_queue_deinit(&q);
}

static void the_slow_one_loses_the_oldest_and_nobody_else_does(void)
{
    static struct view view;
    struct export_queue q;
    struct export_cursor slow, fast;
    struct export_set s = { .count = 0 };
    uint64_t lost = 0;
    export_queue_init(&q, 10, false);
    export_cursor_join(&q, &slow, false);
    export_cursor_join(&q, &fast, false);
    for (uint32_t i = 0; i < 20; i++) {
        lost += export_queue_push(&q, block_of(i * 3, 3));
        check(q.frames <= 10);
        view.len = 0;
        drain(&q, &fast, &s, 1000, &view);
        check_equal(frames_in(&view), 3);
    }
    check(lost == 51 && slow.dropped == 51 && fast.dropped == 0);
    view.len = 0;
    drain(&q, &slow, &s, 1000, &view);
    check(frames_in(&view) == 9 && first_key(&view) == 51);
    export_cursor_leave(&q, &slow);
    export_cursor_leave(&q, &fast);
    export_queue_deinit(&q);
}

static void a_frame_that_has_begun_is_finished_though_its_block_is_dropped(void)
{
    static struct view view;
    struct export_queue q;
    struct export_cursor c;
    struct export_set s = { .count = 0 };
    export_queue_init(&q, 4, false);
    export_cursor_join(&q, &c, false);
    export_queue_push(&q, block_of(0, 4));
    struct iovec pieces[EXPORT_PIECES];
    check(export_set_fill(&s, &q, &c) && export_set_view(&s, pieces) == 1);
    memcpy(view.bytes, pieces[0].iov_base, 20);
    view.len = 20;
    check_equal(export_set_sent(&s, 20), 0);
    for (uint32_t i = 1; i < 5; i++)
        export_queue_push(&q, block_of(i * 4, 4));
    drain(&q, &c, &s, 33, &view);
    check(frames_in(&view) == 8 && c.dropped == 12);
    export_cursor_leave(&q, &c);
    export_queue_deinit(&q);
}

static void a_new_connection_gets_the_cut_frame_from_its_first_byte(void)
{
    static struct view view;
    struct export_queue q;
    struct export_cursor c;
    struct export_set s = { .count = 0 };
    export_queue_init(&q, 100, false);
    export_cursor_join(&q, &c, false);
    export_queue_push(&q, block_of(0, 3));
    check(export_set_fill(&s, &q, &c));
    uint64_t frame = q.head == NULL ? s.pieces[0].len / 3 : q.head->len / 3;
    check_equal(export_set_sent(&s, frame + 7), 1);
    export_set_rewind(&s);
    view.len = 0;
    drain(&q, &c, &s, 1000, &view);
    check(frames_in(&view) == 2 && first_key(&view) == 1);
    export_cursor_leave(&q, &c);
    export_queue_deinit(&q);
}

static void frames_not_asked_for_are_stepped_over(void)
{
    static struct view view;
    struct export_queue q;
    struct export_cursor one, two;
    struct export_set s = { .count = 0 };
    export_queue_init(&q, 100, false);
    export_cursor_join(&q, &one, false);
    export_cursor_join(&q, &two, true);
    turn_begin(0, 1);
    turn_set(1, "a", "v", -1);
    turn_set(0, "k0007", "v", -1);
    turn_set(1, "b", "v", -1);
    turn_set(0, "k0008", "v", -1);
    turn_set(1, "c", "v", -1);
    export_queue_push(&q, turn_end(true));
    view.len = 0;
    drain(&q, &one, &s, 1000, &view);
    check(frames_in(&view) == 2 && first_key(&view) == 7);
    view.len = 0;
    drain(&q, &two, &s, 11, &view);
    check_equal(frames_in(&view), 5);
    check(q.head == NULL);
    export_cursor_leave(&q, &one);
    export_cursor_leave(&q, &two);
    export_queue_deinit(&q);
}

static void a_full_queue_that_keeps_says_so_and_still_has_an_end(void)
{
    struct export_queue q;
    struct export_cursor c;
    export_queue_init(&q, 10, true);
    export_cursor_join(&q, &c, false);
    for (uint32_t i = 0; i < 5; i++) {
        check_equal(export_queue_full(&q), i * 3 >= 10);
        check_equal(export_queue_push(&q, block_of(i * 3, 3)), 0);
    }
    check(export_queue_full(&q));
    uint64_t lost = 0;
    for (uint32_t i = 0; i < 10; i++)
        lost += export_queue_push(&q, block_of(i * 3, 3));
    check(q.frames <= 20 && lost == c.dropped && lost > 0);
    export_cursor_leave(&q, &c);
    check(q.head == NULL);
    export_queue_deinit(&q);
}

static void many_runs_and_large_frames_are_sent_in_turns(void)
{
    struct export_queue q;
    struct export_cursor c;
    struct export_set s = { .count = 0 };
    static char value[600 * 1024];
    memset(value, 'v', sizeof value - 1);
    export_queue_init(&q, 1000, false);
    export_cursor_join(&q, &c, false);
    for (uint32_t i = 0; i < 50; i++)
        export_queue_push(&q, block_of(i, 1));
    uint32_t frames = 0;
    struct iovec pieces[EXPORT_PIECES];
    while (export_set_fill(&s, &q, &c)) {
        uint32_t count = export_set_view(&s, pieces);
        check(count <= EXPORT_PIECES);
        uint64_t n = 0;
        for (uint32_t i = 0; i < count; i++)
            n += pieces[i].iov_len;
        frames += export_set_sent(&s, n);
    }
    check_equal(frames, 50);
    for (uint32_t i = 0; i < 3; i++) {
        turn_begin(0, 1);
        turn_set(0, "big", value, -1);
        export_queue_push(&q, turn_end(false));
    }
    for (uint32_t i = 0; i < 3; i++) { // two do not fit one send
        check(export_set_fill(&s, &q, &c) && export_set_view(&s, pieces) == 1);
        check_equal(export_set_sent(&s, pieces[0].iov_len), 1);
    }
    check(!export_set_fill(&s, &q, &c));
    export_cursor_leave(&q, &c);
    export_queue_deinit(&q);
}

static enum export_auth auth(const char *line, const char *token)
{
    return export_auth_check(slice_cstr(line), slice_cstr(token));
}

static void the_line_with_the_right_token_opens(void)
{
    check_equal(auth("FCWAL-AUTH/1 secret\n", "secret"), EXPORT_AUTH_V1);
    check_equal(auth("FCWAL-AUTH/1 secret\r\n", "secret"), EXPORT_AUTH_V1);
    check_equal(auth("FCWAL-AUTH/2 secret\nwhat follows", "secret"), EXPORT_AUTH_V2);
    check_equal(auth("FCWAL-AUTH/1 with space\n", "with space"), EXPORT_AUTH_V1);
}

static void everything_else_does_not(void)
{
    check_equal(auth("FCWAL-AUTH/1 secre\n", "secret"), EXPORT_AUTH_WRONG);
    check_equal(auth("FCWAL-AUTH/1 secretsecret\n", "secret"), EXPORT_AUTH_WRONG);
    check_equal(auth("FCWAL-AUTH/1 Secret\n", "secret"), EXPORT_AUTH_WRONG);
    check_equal(auth("FCWAL-AUTH/1 \n", "secret"), EXPORT_AUTH_WRONG);
    check_equal(auth("FCWAL-AUTH/1 \n", ""), EXPORT_AUTH_WRONG);
    check_equal(auth("FCWAL-AUTH/1\n", "secret"), EXPORT_AUTH_WRONG);
    check_equal(auth("FCWAL-AUTH/3 secret\n", "secret"), EXPORT_AUTH_WRONG);
    check_equal(auth("FCWAL-AUTH/1xsecret\n", "secret"), EXPORT_AUTH_WRONG);
    check_equal(auth("FCWAL-AUTH/1 secret\r\r\n", "secret"), EXPORT_AUTH_WRONG);
    check_equal(auth("\n", "secret"), EXPORT_AUTH_WRONG);
    check_equal(auth("GET / HTTP/1.1\r\n", "secret"), EXPORT_AUTH_WRONG);
    check_equal(auth("G", "secret"), EXPORT_AUTH_WRONG);
}

static void every_beginning_of_the_line_waits_up_to_its_bound(void)
{
    static const char LINE[] = "FCWAL-AUTH/1 secret\n";
    for (size_t len = 0; len < sizeof LINE - 1; len++)
        check_equal(export_auth_check(slice_of(LINE, len), slice_cstr("secret")), EXPORT_AUTH_MORE);
    static char text[EXPORT_AUTH_MAX + 2];
    memset(text, 'x', sizeof text);
    memcpy(text, "FCWAL-AUTH/1 ", 13);
    check_equal(export_auth_check(slice_of(text, EXPORT_AUTH_MAX - 1), slice_cstr("s")), EXPORT_AUTH_MORE);
    check_equal(export_auth_check(slice_of(text, EXPORT_AUTH_MAX), slice_cstr("s")), EXPORT_AUTH_WRONG);
    text[EXPORT_AUTH_MAX] = '\n';
    check_equal(export_auth_check(slice_of(text, EXPORT_AUTH_MAX + 1), slice_of(text + 13, EXPORT_AUTH_MAX - 13)), EXPORT_AUTH_WRONG);
    text[EXPORT_AUTH_MAX - 1] = '\n';
    check_equal(export_auth_check(slice_of(text, EXPORT_AUTH_MAX), slice_of(text + 13, EXPORT_AUTH_MAX - 14)), EXPORT_AUTH_V1);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(strings_become_the_frames_of_version_1),
        TEST(what_version_1_cannot_say_is_for_those_who_asked),
        TEST(a_change_of_a_part_is_told_as_the_whole),
        TEST(a_turn_without_words_for_anybody_is_no_block),
        TEST(everybody_sees_every_frame_in_order_whatever_the_socket_takes),
        TEST(whoever_joins_sees_what_comes_after),
        TEST(the_slow_one_loses_the_oldest_and_nobody_else_does),
        TEST(a_frame_that_has_begun_is_finished_though_its_block_is_dropped),
        TEST(a_new_connection_gets_the_cut_frame_from_its_first_byte),
        TEST(frames_not_asked_for_are_stepped_over),
        TEST(a_full_queue_that_keeps_says_so_and_still_has_an_end),
        TEST(many_runs_and_large_frames_are_sent_in_turns),
        TEST(the_line_with_the_right_token_opens),
        TEST(everything_else_does_not),
        TEST(every_beginning_of_the_line_waits_up_to_its_bound),
    };
    crc32_init(&tables);
    buf_init(&turn, BUF_NO_LIMIT);
    int failed = test_main(tests, (int)(sizeof tests / sizeof tests[0]), argc, argv);
    buf_deinit(&turn);
    return failed;
}
