package early

import (
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"
)

func always(Key) bool { return true }

func held(index int, data int) Held {
	return Held{1, pb.Message{Type: pb.MsgApp, Index: uint64(index), Entries: []pb.Entry{{Data: make([]byte, data)}}}}
}

func TestNewestOfEachReplicaStay(t *testing.T) {
	b := New(3, 1<<20)
	k, other := Key{1, 11}, Key{1, 12}
	dropped := 0
	for i := range 5 {
		dropped += b.Keep(k, held(i, 10), always)
	}
	dropped += b.Keep(other, held(9, 10), always)
	if dropped != 2 {
		t.Errorf("%d were dropped, want the 2 oldest", dropped)
	}
	got := b.Take(k)
	if len(got) != 3 || got[0].Message.Index != 2 || got[2].Message.Index != 4 {
		t.Errorf("held %+v, want indexes 2 to 4", got)
	}
	if n, _ := b.Len(); n != 1 {
		t.Errorf("%d are held, want the other replica's", n)
	}
	if n := b.Drop(1, always); n != 0 {
		t.Errorf("%d were dropped of a replica that may come", n)
	}
	if n := b.Drop(1, func(Key) bool { return false }); n != 1 {
		t.Errorf("dropping the group dropped %d, want 1", n)
	}
	if n, bytes := b.Len(); n != 0 || bytes != 0 {
		t.Errorf("%d messages of %d bytes in an empty buffer", n, bytes)
	}
}

func TestBytesAreBounded(t *testing.T) {
	one := held(0, 1000)
	size := Bytes(&one.Message)
	b := New(100, 3*size)
	for i := range 3 {
		if n := b.Keep(Key{1, 11}, held(i, 1000), always); n != 0 {
			t.Fatalf("message %d drops %d", i, n)
		}
	}
	if n := b.Keep(Key{2, 21}, held(3, 1000), always); n != 1 {
		t.Errorf("one too many drops %d, want itself", n)
	}
	if len(b.Take(Key{2, 21})) != 0 {
		t.Error("it is held although there was no room")
	}
	if n := b.Keep(Key{1, 11}, held(4, 1000), always); n != 1 {
		t.Errorf("one too many of a replica drops %d, want its oldest", n)
	}
	if n := b.Keep(Key{2, 21}, held(5, 1000), func(k Key) bool { return k.Group != 1 }); n != 3 {
		t.Errorf("%d were dropped, want all 3 of the group that will not come", n)
	}
	if n, bytes := b.Len(); n != 1 || bytes != size {
		t.Errorf("%d messages of %d bytes, want 1 of %d", n, bytes, size)
	}
	if n := b.Keep(Key{3, 31}, held(6, 3*1000), always); n != 1 {
		t.Errorf("one that never fits drops %d, want itself", n)
	}
}
