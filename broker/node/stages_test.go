package node_test

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/kwire"
	"ackline/broker/vfs"
)

// TestWhoAsksIsToldTheStages sends a request that asks, one that does not, and one that asks and is refused.
func TestWhoAsksIsToldTheStages(t *testing.T) {
	n := open(t, vfs.NewMem())
	defer closeNode(t, n)
	createTopic(t, n, "t", 1)
	conn, err := net.Dial("tcp", n.ListenAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	plain := produceFrame("t", 1024)
	// The tag section is the last byte: no tags.
	asking := append(append([]byte(nil), plain[:len(plain)-1]...), 1)
	asking = append(binary.AppendUvarint(asking, kwire.StagesTag), 1, kwire.StagesVersion)
	binary.BigEndian.PutUint32(asking, uint32(len(asking)-4))
	refused := append([]byte(nil), asking...)
	refused[len(plain)-100] ^= 1 // within the value: the batch's CRC is wrong

	for name, frame := range map[string][]byte{"plain": plain, "asking": asking, "refused": refused} {
		reply := make([]byte, 512)
		before := time.Now()
		roundTrip(t, conn, frame, reply)
		took := time.Since(before).Nanoseconds()
		r := kmsg.NewPtrProduceResponse()
		r.Version = 9
		if err := r.ReadFrom(reply[9 : 4+binary.BigEndian.Uint32(reply)]); err != nil {
			t.Fatal(name, err)
		}
		if code := r.Topics[0].Partitions[0].ErrorCode; (code != 0) != (name == "refused") {
			t.Fatalf("%s: error code %d", name, code)
		}
		var told []int64
		r.UnknownTags.Each(func(number uint32, content []byte) {
			if number != kwire.StagesTag || content[0] != kwire.StagesVersion {
				t.Errorf("%s: tag %#x version %d", name, number, content[0])
			}
			for at := 1; at < len(content); at += 8 {
				told = append(told, int64(binary.BigEndian.Uint64(content[at:])))
			}
		})
		if name == "plain" {
			if told != nil {
				t.Errorf("who does not ask is told %d", told)
			}
			continue
		}
		if len(told) != 6 {
			t.Fatalf("%s: told %d durations, want 6", name, len(told))
		}
		last := int64(0)
		for i, ns := range told {
			if name == "refused" && i >= 2 && i < 5 { // queue, sync, quorum
				if ns != -1 {
					t.Errorf("%s: stage %d took %d ns and was not passed", name, i, ns)
				}
				continue
			}
			if ns < last || ns > took {
				t.Errorf("%s: %d ns since Read: stage %d does not lie between the one before and the answer, after %d ns", name, told, i, took)
			}
			last = max(last, ns)
		}
	}
}
