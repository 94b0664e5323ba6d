// SPDX-License-Identifier: Apache-2.0
// node-redis and ioredis against a server: main.js PORT
'use strict';
const assert = require('assert');
const { createClient } = require('redis');
const Redis = require('ioredis');

const port = Number(process.argv[2]);
let passed = 0;
let failed = 0;

async function claim(name, run) {
    try {
        await run();
        passed++;
    } catch (why) {
        failed++;
        console.log(`FAIL node ${name}: ${String(why.message).split('\n')[0]}`);
    }
}

async function nodeRedis() {
    const r = createClient({ socket: { port, host: '127.0.0.1' } });
    await r.connect();
    await claim('node-redis: strings come back', async () => {
        await r.flushAll();
        assert.strictEqual(await r.set('a', 'ä'), 'OK');
        assert.strictEqual(await r.get('a'), 'ä');
        assert.strictEqual(await r.get('nothing'), null);
        assert.strictEqual(await r.set('a', '2', { NX: true }), null);
        assert.strictEqual(await r.incrBy('n', 5), 5);
        assert.strictEqual(await r.append('a', 'x'), 3);
    });
    await claim('node-redis: keys expire', async () => {
        await r.set('t', '1', { PX: 40 });
        assert.ok((await r.pTTL('t')) <= 40);
        await new Promise((done) => setTimeout(done, 60));
        assert.strictEqual(await r.exists('t'), 0);
    });
    await claim('node-redis: what is sent together is answered in order', async () => {
        await r.flushAll();
        const replies = await Promise.all([...Array(1000).keys()].flatMap((i) => [r.set(`k${i}`, String(i)), r.get(`k${i}`)]));
        assert.deepStrictEqual(replies.filter((_, i) => i % 2 === 1), [...Array(1000).keys()].map(String));
        const keys = [];
        for await (const key of r.scanIterator({ MATCH: 'k*', COUNT: 100 })) {
            keys.push(key);
        }
        assert.strictEqual(new Set(keys.flat()).size, 1000);
    });
    await r.quit();
}

async function ioRedis() {
    const r = new Redis({ port, host: '127.0.0.1', connectionName: 'compat' });
    await claim('ioredis: strings come back', async () => {
        await r.flushall();
        assert.strictEqual(await r.set('a', '1', 'EX', 100), 'OK');
        assert.strictEqual(await r.ttl('a'), 100);
        assert.strictEqual(await r.client('GETNAME'), 'compat');
        const value = Buffer.alloc(3000000, 7);
        await r.set('big', value);
        assert.ok(value.equals(await r.getBuffer('big')));
    });
    await claim('ioredis: pipelines keep their order', async () => {
        const p = r.pipeline();
        for (let i = 0; i < 1000; i++) {
            p.incr('count').mset({ [`x${i}`]: i, [`y${i}`]: i }).mget(`x${i}`, `y${i}`, 'nothing');
        }
        const replies = await p.exec();
        for (let i = 0; i < 1000; i++) {
            assert.deepStrictEqual(replies[3 * i], [null, i + 1]);
            assert.deepStrictEqual(replies[3 * i + 2], [null, [String(i), String(i), null]]);
        }
    });
    await claim('ioredis: errors are told', async () => {
        await r.set('word', 'x');
        await assert.rejects(r.incr('word'), /not an integer/);
    });
    await r.quit();
}

async function main() {
    await claim('node-redis', nodeRedis);
    await claim('ioredis', ioRedis);
    console.log(`${passed} passed, ${failed} failed`);
    process.exit(failed > 0 ? 1 : 0);
}

main();
