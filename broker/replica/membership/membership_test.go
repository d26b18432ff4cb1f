package membership_test

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"go.etcd.io/raft/v3/confchange"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"ackline/broker/id"
	"ackline/broker/replica/membership"
)

func TestCheck(t *testing.T) {
	conf := pb.ConfState{Voters: []uint64{1, 2, 3}, Learners: []uint64{4, 5}}
	removed := []id.ReplicaID{9}
	caughtUp := func(r id.ReplicaID) bool { return r == 4 }
	type changes []membership.Change
	for _, c := range []struct {
		what string
		cs   changes
		want error
	}{
		{"a new learner", changes{{6, membership.Learner}}, nil},
		{"a learner votes", changes{{4, membership.Voter}}, nil},
		{"a learner takes a voter's place", changes{{4, membership.Voter}, {1, membership.None}}, nil},
		{"a voter steps back for a learner", changes{{4, membership.Voter}, {1, membership.Learner}}, nil},
		{"a learner that lacks entries votes", changes{{5, membership.Voter}}, membership.ErrNotCaughtUp},
		{"a stranger votes", changes{{6, membership.Voter}}, membership.ErrConfiguration},
		{"a removed replica comes back", changes{{9, membership.Learner}}, membership.ErrConfiguration},
		{"a voter steps back alone", changes{{1, membership.Learner}}, membership.ErrConfiguration},
		{"one replica twice", changes{{4, membership.Voter}, {4, membership.None}}, membership.ErrConfiguration},
		{"replica 0", changes{{0, membership.Learner}}, membership.ErrConfiguration},
		{"no such role", changes{{6, membership.Voter + 1}}, membership.ErrConfiguration},
		{"nobody votes", changes{{1, membership.None}, {2, membership.None}, {3, membership.None}}, membership.ErrConfiguration},
		{"nothing", nil, membership.ErrConfiguration},
	} {
		if err := membership.Check(&conf, c.cs, removed, caughtUp); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
	}
	if !slices.Equal(conf.Voters, []uint64{1, 2, 3}) {
		t.Fatalf("checking changed the voters to %v", conf.Voters)
	}
}

// TestProposalsDoWhatTheySay: raft's own arithmetic of configurations, from an entry's bytes, comes to the roles asked for.
func TestProposalsDoWhatTheySay(t *testing.T) {
	apply := func(conf pb.ConfState, cs ...membership.Change) pb.ConfState {
		t.Helper()
		data, err := func() ([]byte, error) { cc := membership.Proposal(cs...); return cc.Marshal() }()
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := membership.Parse(&pb.Entry{Index: 1, Type: pb.EntryConfChangeV2, Data: data})
		if err != nil {
			t.Fatal(err)
		}
		tr := tracker.MakeProgressTracker(10, 0)
		cfg, progress, err := confchange.Restore(confchange.Changer{Tracker: tr, LastIndex: 1}, conf)
		if err != nil {
			t.Fatal(err)
		}
		tr.Config, tr.Progress = cfg, progress
		ch, cc := confchange.Changer{Tracker: tr, LastIndex: 1}, parsed.AsV2()
		if cc.LeaveJoint() {
			cfg, _, err = ch.LeaveJoint()
		} else if auto, joint := cc.EnterJoint(); joint {
			cfg, _, err = ch.EnterJoint(auto, cc.Changes...)
		} else {
			cfg, _, err = ch.Simple(cc.Changes...)
		}
		if err != nil {
			t.Fatalf("%+v: %v", cs, err)
		}
		tr.Config = cfg
		return tr.ConfState()
	}
	ids := func(rs ...id.ReplicaID) []id.ReplicaID { return append([]id.ReplicaID{}, rs...) }
	want := func(conf pb.ConfState, m membership.Members) {
		t.Helper()
		got, err := membership.Encode(conf).Members()
		if err != nil || !reflect.DeepEqual(got, m) || got.Joint() != (len(m.Outgoing) > 0) {
			t.Fatalf("the members are %+v, %v; want %+v", got, err, m)
		}
		if conf.AutoLeave {
			t.Fatal("raft is to leave the joint configuration itself")
		}
	}
	conf := pb.ConfState{Voters: []uint64{1, 2, 3}}
	conf = apply(conf, membership.Change{Replica: 4, To: membership.Learner})
	want(conf, membership.Members{Voters: ids(1, 2, 3), Outgoing: ids(), Learners: ids(4), Next: ids()})
	conf = apply(conf, membership.Change{Replica: 4, To: membership.Voter}, membership.Change{Replica: 1, To: membership.Learner},
		membership.Change{Replica: 2, To: membership.None})
	want(conf, membership.Members{Voters: ids(3, 4), Outgoing: ids(1, 2, 3), Learners: ids(), Next: ids(1)})
	conf = apply(conf)
	want(conf, membership.Members{Voters: ids(3, 4), Outgoing: ids(), Learners: ids(1), Next: ids()})
	conf = apply(conf, membership.Change{Replica: 3, To: membership.None})
	want(conf, membership.Members{Voters: ids(4), Outgoing: ids(), Learners: ids(1), Next: ids()})
}

func TestQuorumNeedsBothHalves(t *testing.T) {
	conf := pb.ConfState{Voters: []uint64{3, 4, 5}, VotersOutgoing: []uint64{1, 2, 3}, Learners: []uint64{6}, LearnersNext: []uint64{1}}
	if got := membership.Everyone(&conf); !slices.Equal(got, []uint64{1, 2, 3, 4, 5, 6}) {
		t.Errorf("everyone is %v", got)
	}
	if got := membership.VotersOf(&conf); !slices.Equal(got, []uint64{1, 2, 3, 4, 5}) {
		t.Errorf("the voters are %v", got)
	}
	for _, c := range []struct {
		have []uint64
		want bool
	}{
		{[]uint64{3, 4, 5}, false}, {[]uint64{1, 2, 3}, false}, {[]uint64{1, 3, 4}, true}, {[]uint64{1, 2, 4, 5}, true},
		{[]uint64{3, 6}, false}, {nil, false},
	} {
		if got := membership.Quorum(&conf, func(r uint64) bool { return slices.Contains(c.have, r) }); got != c.want {
			t.Errorf("%v are a quorum: %v, want %v", c.have, got, c.want)
		}
	}
}

func TestStoredConfiguration(t *testing.T) {
	if m, err := membership.ConfState(nil).Members(); err != nil || len(m.Voters) != 0 {
		t.Errorf("no configuration has the members %+v, %v", m, err)
	}
	if conf, err := membership.ConfState(nil).Decode([]id.ReplicaID{1, 2}); err != nil || !slices.Equal(conf.Voters, []uint64{1, 2}) {
		t.Errorf("no configuration with voters 1 and 2 is %+v, %v", conf, err)
	}
	if _, err := membership.ConfState("\xff\xff").Members(); err == nil {
		t.Error("bytes that are no configuration were taken for one")
	}
	if _, err := membership.Parse(&pb.Entry{Index: 7, Type: pb.EntryConfChangeV2, Data: []byte{0xff}}); err == nil {
		t.Error("bytes that are no change were taken for one")
	}
	if cc, err := membership.Parse(&pb.Entry{Type: pb.EntryNormal, Data: []byte("x")}); cc != nil || err != nil {
		t.Errorf("data is the change %v, %v", cc, err)
	}
}
