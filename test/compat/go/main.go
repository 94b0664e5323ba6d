// SPDX-License-Identifier: Apache-2.0

// go-redis against a server: compat PORT PROTOCOL
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

var ctx = context.Background()

func want(condition bool, what string) error {
	if condition {
		return nil
	}
	return errors.New(what)
}

func stringsComeBack(r *redis.Client) error {
	value := strings.Repeat("0123456789", 200000)
	set, err := r.Set(ctx, "a", value, 0).Result()
	if err != nil || set != "OK" {
		return fmt.Errorf("SET: %v %v", set, err)
	}
	got, err := r.Get(ctx, "a").Result()
	if err != nil || got != value {
		return fmt.Errorf("GET: %d bytes, %v", len(got), err)
	}
	if _, err = r.Get(ctx, "nothing").Result(); err != redis.Nil {
		return fmt.Errorf("GET of nothing: %v", err)
	}
	taken, err := r.SetNX(ctx, "a", "x", 0).Result()
	if err != nil || taken {
		return fmt.Errorf("SETNX: %v %v", taken, err)
	}
	n, err := r.IncrBy(ctx, "n", 42).Result()
	return want(err == nil && n == 42, fmt.Sprint("INCRBY: ", n, err))
}

func keysExpire(r *redis.Client) error {
	r.Set(ctx, "a", "1", 40*time.Millisecond)
	r.Set(ctx, "b", "1", time.Minute)
	left, err := r.TTL(ctx, "b").Result()
	if err != nil || left != time.Minute {
		return fmt.Errorf("TTL: %v %v", left, err)
	}
	time.Sleep(60 * time.Millisecond)
	n, err := r.Exists(ctx, "a", "b").Result()
	return want(err == nil && n == 1, fmt.Sprint("EXISTS: ", n, err))
}

func manyKeysAtOnce(r *redis.Client) error {
	var pairs []any
	var keys []string
	for i := 0; i < 200; i++ {
		keys = append(keys, fmt.Sprint("k", i))
		pairs = append(pairs, keys[i], i)
	}
	if err := r.MSet(ctx, pairs...).Err(); err != nil {
		return err
	}
	values, err := r.MGet(ctx, keys...).Result()
	if err != nil {
		return err
	}
	for i, v := range values {
		if v != strconv.Itoa(i) {
			return fmt.Errorf("MGET %d: %v", i, v)
		}
	}
	seen := map[string]bool{}
	scan := r.Scan(ctx, 0, "k*", 30).Iterator()
	for scan.Next(ctx) {
		seen[scan.Val()] = true
	}
	if scan.Err() != nil || len(seen) != 200 {
		return fmt.Errorf("SCAN: %d keys, %v", len(seen), scan.Err())
	}
	n, err := r.Del(ctx, keys...).Result()
	return want(err == nil && n == 200, fmt.Sprint("DEL: ", n, err))
}

func pipelinesKeepTheirOrder(r *redis.Client) error {
	p := r.Pipeline()
	for i := 0; i < 1000; i++ {
		p.Set(ctx, fmt.Sprint("k", i), i, 0)
		p.Get(ctx, fmt.Sprint("k", i))
	}
	replies, err := p.Exec(ctx)
	if err != nil {
		return err
	}
	for i := 0; i < 1000; i++ {
		if got := replies[2*i+1].(*redis.StringCmd).Val(); got != strconv.Itoa(i) {
			return fmt.Errorf("reply %d: %q", i, got)
		}
	}
	return nil
}

func manyConnectionsCountTogether(r *redis.Client) error {
	var group sync.WaitGroup
	for c := 0; c < 20; c++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := 0; i < 100; i++ {
				r.Incr(ctx, fmt.Sprint("n", i%10))
			}
		}()
	}
	group.Wait()
	sum := 0
	for i := 0; i < 10; i++ {
		n, err := r.Get(ctx, fmt.Sprint("n", i)).Int()
		if err != nil {
			return err
		}
		sum += n
	}
	return want(sum == 2000, fmt.Sprint("sum: ", sum))
}

func main() {
	protocol, _ := strconv.Atoi(os.Args[2])
	r := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + os.Args[1], Protocol: protocol})
	claims := []struct {
		name string
		run  func(*redis.Client) error
	}{
		{"strings come back", stringsComeBack}, {"keys expire", keysExpire}, {"many keys at once", manyKeysAtOnce},
		{"pipelines keep their order", pipelinesKeepTheirOrder}, {"many connections count together", manyConnectionsCountTogether},
	}
	passed, failed := 0, 0
	for _, c := range claims {
		err := r.FlushAll(ctx).Err()
		if err == nil {
			err = c.run(r)
		}
		if err == nil {
			passed++
			continue
		}
		failed++
		fmt.Printf("FAIL go-redis RESP%d %s: %v\n", protocol, c.name, err)
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}
