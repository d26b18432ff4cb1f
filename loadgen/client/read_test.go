package client

import (
	"context"
	"strings"
	"testing"
	"time"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/place"
)

// fill writes n records of 100 bytes.
func fill(t *testing.T, cl *cluster.Cluster, top cluster.Topic, n int) {
	t.Helper()
	d := openProduce(t, Config{RecordsPerRequest: 5}, cl, top, 100)
	check(t, drive(t, d.Workers()[0], n/5), 5)
}

func TestFetchReadsRoundAndRound(t *testing.T) {
	_, cl, top := setup(t, 1, 1)
	fill(t, cl, top, 100)
	d, err := OpenFetch(context.Background(), Config{}, cl, top, Reading{Order: Sequential, MaxBytes: 2000})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	next, records := int64(0), 0
	for i, op := range drive(t, d.Workers()[0], 40) {
		if op.Err != nil || op.Base != next%100 || op.Records < 5 || op.Bytes == 0 {
			t.Fatalf("fetch %d: %+v, want offset %d", i, op, next%100)
		}
		next += int64(op.Records)
		records += int(op.Records)
	}
	if records <= 100 {
		t.Errorf("%d records read: the second pass never came", records)
	}
}

func TestFetchAtRandom(t *testing.T) {
	_, cl, top := setup(t, 1, 1)
	fill(t, cl, top, 100)
	d, err := OpenFetch(context.Background(), Config{InFlight: 4}, cl, top, Reading{Order: Random, MaxBytes: 1, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	seen := map[int64]bool{}
	for _, op := range drive(t, d.Workers()[0], 300) {
		if op.Err != nil || op.Records != 5 {
			t.Fatalf("%+v", op)
		}
		seen[op.Base] = true
	}
	if len(seen) < 50 {
		t.Errorf("%d different offsets in 300 fetches of 100", len(seen))
	}
}

func TestFetchNoticesBadBytes(t *testing.T) {
	b, cl, top := setup(t, 1, 1)
	b.Break(brokertest.Faults{BadCRCBatch: 3})
	fill(t, cl, top, 50)
	d, err := OpenFetch(context.Background(), Config{}, cl, top, Reading{Order: Sequential, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if op := drive(t, d.Workers()[0], 1)[0]; op.Err == nil || !strings.Contains(op.Err.Error(), "CRC-32C") {
		t.Errorf("%+v", op)
	}
}

func TestFetchRefuses(t *testing.T) {
	_, cl, top := setup(t, 1, 1)
	ctx := context.Background()
	if _, err := OpenFetch(ctx, Config{}, cl, top, Reading{Order: Sequential, MaxBytes: 1}); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("an empty topic: %v", err)
	}
	if _, err := OpenFetch(ctx, Config{InFlight: 2}, cl, top, Reading{Order: Sequential, MaxBytes: 1}); err == nil {
		t.Error("a sequential read with two in flight was accepted")
	}
}

func TestReaderSurvivesARestart(t *testing.T) {
	b, cl, top := setup(t, 1, 1)
	fill(t, cl, top, 20)
	r := NewReader(cl, topic)
	defer r.Close()
	for i := range 2 {
		batches, hw, err := r.Read(context.Background(), 0, 10)
		if err != nil || hw != 20 {
			t.Fatalf("read %d: high watermark %d, %v", i, hw, err)
		}
		if next, n, err := frame.Walk(batches, 10); err != nil || next != 20 || n != 10 {
			t.Fatalf("read %d: %d records up to %d, %v", i, n, next, err)
		}
		b.Kill(1)
		b.Restart(1)
	}
}

// A prompt reader does not wait at the end of partitions that are empty, however long a read may wait otherwise.
func TestPromptReaderPassesEmptyPartitions(t *testing.T) {
	b := brokertest.Start(t, 2)
	b.Create("a", 2)
	b.Create("b", 2)
	cl, err := cluster.New([]string{b.Addr()}, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	r := NewWaitingReader(cl, "a,b", 10*60*1000).Prompt()
	defer r.Close()
	for _, at := range []int32{place.Of(0, 0), place.Of(0, 1), place.Of(1, 0), place.Of(1, 1), place.Of(0, 0)} {
		if batches, hw, err := r.Read(context.Background(), at, 0); err != nil || len(batches) != 0 || hw != 0 {
			t.Errorf("place %d: %d bytes, high watermark %d, %v", at, len(batches), hw, err)
		}
	}
}
