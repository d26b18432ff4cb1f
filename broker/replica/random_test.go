package replica_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica"
	"ackline/broker/replica/membership"
)

// seeds is how many histories a test of random ones goes through.
func seeds(few, many uint64) uint64 {
	if os.Getenv("ACKLINE_NIGHTLY") != "" {
		return many
	}
	if testing.Short() {
		return few/4 + 1
	}
	return few
}

// TestRandomHistories: messages are lost, repeated and overtake each other, replicas crash and come back from their WALs,
// nodes are cut off and said to be dead when they are not, the configuration changes, logs are cut and snapshots sent. What
// must hold all the time: see truth. In the end everybody has the same.
func TestRandomHistories(t *testing.T) {
	var did deeds
	n := seeds(40, 1000)
	for seed := range n {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			h := newHistory(t, seed)
			h.run()
			did.add(h)
		})
	}
	t.Logf("%d histories: %+v", n, did)
	if least := int(n) / 4; min(did.acked/20, did.elections, did.changes, did.snapshots, did.transfers, did.slept, did.reads) < least && n > 20 {
		t.Errorf("%d histories in which hardly anything happened: %+v", n, did)
	}
}

// deeds is what happened in some histories.
type deeds struct{ acked, void, elections, changes, snapshots, transfers, slept, reads, crashes int }

func (d *deeds) add(h *history) {
	d.acked += len(h.acked)
	d.void += len(h.void)
	d.changes += len(h.voters)
	d.elections += int(h.leader().group.Status().Term)
	d.snapshots += h.did.snapshots
	d.transfers += h.did.transfers
	d.slept += h.did.slept
	d.reads += h.did.reads
	d.crashes += h.did.crashes
}

// truth is what is known to be committed, from the replicas' own words, and what follows from it.
type truth struct {
	t *testing.T
	// entries are those that any replica has applied, by index: all others must apply the same there.
	entries map[id.Index]replica.Entry
	// acked are the proposals that a leader's machine heard to be committed: they must be what is applied there.
	acked map[id.Index]string
	last  id.Index // of acked
	// void are the proposals that were definitely refused: nobody must ever apply them.
	void map[string]id.Index
	// voters are the configurations, by the index of the entry that brought them.
	voters map[id.Index]membership.Members
}

func (tr *truth) applied(p *peer, e *replica.Entry) {
	tr.t.Helper()
	if known, ok := tr.entries[e.Index]; !ok {
		tr.entries[e.Index] = *e
	} else if known.Term != e.Term || known.Type != e.Type || !bytes.Equal(known.Data, e.Data) {
		tr.t.Fatalf("replica %d applies %v at %d, another applied %v", p.id, *e, e.Index, known)
	}
	if want, ok := tr.acked[e.Index]; ok && want != string(e.Data) {
		tr.t.Fatalf("replica %d applies %q at %d, where %q was acknowledged", p.id, e.Data, e.Index, want)
	}
	if at, ok := tr.void[string(e.Data)]; ok && len(e.Data) > 0 {
		tr.t.Fatalf("replica %d applies %q at %d, which was refused at %d as in no log", p.id, e.Data, e.Index, at)
	}
}

func (tr *truth) configured(p *peer, at id.Index, ms membership.Members) {
	tr.t.Helper()
	known, ok := tr.voters[at]
	if !ok {
		tr.voters[at] = ms
		return
	}
	if !slices.Equal(known.Voters, ms.Voters) || !slices.Equal(known.Outgoing, ms.Outgoing) {
		tr.t.Fatalf("replica %d has the configuration %+v as of %d, another has %+v", p.id, ms, at, known)
	}
}

// conf is the configuration as of an index, encoded.
func (tr *truth) conf(as id.Index) membership.ConfState {
	ms, best := membership.Members{Voters: []id.ReplicaID{1, 2, 3}}, id.Index(0)
	for at, m := range tr.voters {
		if at <= as && at >= best {
			ms, best = m, at
		}
	}
	var cs pb.ConfState
	for _, f := range []struct {
		to   *[]uint64
		from []id.ReplicaID
	}{{&cs.Voters, ms.Voters}, {&cs.VotersOutgoing, ms.Outgoing}, {&cs.Learners, ms.Learners}, {&cs.LearnersNext, ms.Next}} {
		for _, r := range f.from {
			*f.to = append(*f.to, uint64(r))
		}
	}
	b, err := cs.Marshal()
	if err != nil {
		tr.t.Fatal(err)
	}
	return b
}

// history is one random run.
type history struct {
	*net
	truth
	t     *testing.T
	r     *rand.Rand
	trace []string
	next  int          // of the proposals
	grown id.ReplicaID // the newest replica
	asked map[uint64]id.Index
	did   deeds
}

func newHistory(t *testing.T, seed uint64) *history {
	h := &history{t: t, r: rand.New(rand.NewPCG(seed, 3)), grown: 3, asked: map[uint64]id.Index{},
		truth: truth{t: t, entries: map[id.Index]replica.Entry{}, acked: map[id.Index]string{}, void: map[string]id.Index{},
			voters: map[id.Index]membership.Members{}}}
	h.net = &net{t: t, logs: seed%2 == 1, ring: 2 << 20, sees: h.truth.applied, truth: &h.truth}
	h.net.tune = func(cfg *replica.Config) {
		cfg.ElectionTicks, cfg.HeartbeatTicks, cfg.CommitTicks = 10, 1+int(seed%3), 1
		if seed%4 < 2 {
			cfg.QuietTicks = 3
		}
		cfg.UncommittedBytes = 4 << 10
	}
	h.net.open(3)
	return h
}

func (h *history) pick() *peer { all := h.all(); return all[h.r.IntN(len(all))] }

func (h *history) note(format string, args ...any) {
	h.trace = append(h.trace, fmt.Sprintf(format, args...))
}

func (h *history) run() {
	defer func() {
		if h.t.Failed() {
			h.tell()
		}
		if r := recover(); r != nil {
			h.tell()
			panic(r)
		}
	}()
	for range 600 {
		h.step()
		h.watch()
	}
	h.heal()
}

func (h *history) tell() {
	for _, line := range h.trace[max(0, len(h.trace)-150):] {
		h.t.Log(line)
	}
	for _, p := range h.all() {
		h.t.Logf("replica %d: %+v %+v %v", p.id, p.group.Status(), p.members, p.group.Err())
	}
}

func (h *history) step() {
	switch n := h.r.IntN(100); {
	case n < 45:
		for range 1 + h.r.IntN(6) {
			h.deliverOne()
		}
	case n < 65:
		for _, p := range h.all() {
			if h.r.IntN(2) == 0 {
				p.wal.Drive()
			}
		}
	case n < 80:
		for _, p := range h.all() {
			if h.r.IntN(8) > 0 && !p.asleep {
				p.group.Tick()
			}
		}
	case n < 92:
		h.proposeSome()
	case n == 92 && h.r.IntN(3) == 0: // nobody does anything for a while
		h.note("rest")
		for range 15 {
			h.tick()
		}
	default:
		h.disturb()
	}
}

// deliverOne takes a message, mostly the first of its class between its two replicas, and loses or repeats some.
func (h *history) deliverOne() {
	if len(h.queue) == 0 {
		return
	}
	i := h.r.IntN(len(h.queue))
	if h.r.IntN(20) > 0 {
		m := &h.queue[i]
		i = slices.IndexFunc(h.queue, func(o pb.Message) bool {
			return o.From == m.From && o.To == m.To && bulk(o.Type) == bulk(m.Type)
		})
	}
	m := h.queue[i]
	if h.r.IntN(40) > 0 {
		h.queue = slices.Delete(h.queue, i, i+1)
	}
	if h.r.IntN(30) == 0 {
		h.note("lost: %v %d to %d at %d", m.Type, m.From, m.To, m.Index)
		if p := h.peers[id.ReplicaID(m.From)]; p != nil && m.Type == pb.MsgSnap {
			p.group.ReportSnapshot(id.ReplicaID(m.To), false)
		}
		return
	}
	h.note("%v %d to %d term %d at %d (%d), %d entries, commit %d, reject %v, context %q", m.Type, m.From, m.To, m.Term, m.Index,
		m.LogTerm, len(m.Entries), m.Commit, m.Reject, m.Context)
	h.deliver(m)
}

func bulk(t pb.MessageType) bool { return t == pb.MsgApp || t == pb.MsgAppResp }

func (h *history) proposeSome() {
	for _, p := range h.all() {
		if !p.group.Status().IsLead {
			continue
		}
		for range 1 + h.r.IntN(4) {
			h.next++
			data := number(h.next)
			i, err := p.propose(data)
			if err != nil {
				h.void[data] = 0
				continue
			}
			p.proposed = append(p.proposed, replica.Entry{Index: i, Data: []byte(data)})
			h.note("propose %q at %d to %d", data, i, p.id)
		}
		h.asked[uint64(h.next)] = h.last
		if err := p.group.ReadIndex(uint64(h.next)); err != nil {
			h.t.Fatal(err)
		}
	}
}

// watch looks at what replicas say of themselves.
func (h *history) watch() {
	leaders := map[id.Term]id.ReplicaID{}
	for _, p := range h.all() {
		if used, usable := p.wal.Usage(); used > usable/3 {
			h.save(p)
		}
		s := p.group.Status()
		if err := p.group.Err(); err != nil {
			h.t.Fatalf("replica %d stopped: %v", p.id, err)
		}
		if s.IsLead {
			if other, ok := leaders[s.Term]; ok {
				h.t.Fatalf("replicas %d and %d lead in term %d", p.id, other, s.Term)
			}
			leaders[s.Term] = p.id
		}
		for _, r := range p.reads {
			if from := h.asked[r.ctx]; r.err == nil && r.index < from {
				h.t.Fatalf("replica %d: a read is answered at %d, when it was asked %d was acknowledged", p.id, r.index, from)
			}
			if r.err == nil {
				h.did.reads++
			}
		}
		p.reads = nil
		h.did.snapshots, p.restored = h.did.snapshots+p.restored, 0
		if p.asleep {
			h.did.slept++
		}
	}
}

func (h *history) save(p *peer) {
	first := p.disk.first
	if h.r.IntN(2) == 0 {
		first += id.Index(h.r.IntN(len(p.disk.segs) + len(p.applied) + 1))
	}
	h.note("checkpoint of %d, from %d on", p.id, first)
	p.checkpoint(first)
}

// disturb does what operators, kernels and networks do.
func (h *history) disturb() {
	p := h.pick()
	switch h.r.IntN(12) {
	case 0:
		h.crash(p)
	case 1, 2:
		h.cut[p.id] = !h.cut[p.id] && h.r.IntN(2) == 0
		h.note("cut %v", h.cut)
	case 3:
		h.save(p)
	case 4:
		p.group.Evict(p.group.Status().Applied)
	case 5:
		if l := h.leader(); l != nil {
			err := l.group.TransferLeadership(p.id)
			h.note("transfer from %d to %d: %v", l.id, p.id, err)
			if err == nil {
				h.did.transfers++
			}
		}
	case 6:
		var dead []id.ReplicaID
		for r := id.ReplicaID(1); r <= h.grown; r++ {
			if r != p.id && h.r.IntN(3) == 0 {
				dead = append(dead, r)
			}
		}
		h.note("%d hears that %d are dead", p.id, dead)
		p.group.PeersDown(dead)
	case 7:
		p.group.ReportUnreachable(id.ReplicaID(1 + h.r.IntN(int(h.grown))))
	default:
		h.changeMembers()
	}
}

func (h *history) crash(p *peer) {
	h.note("crash %d", p.id)
	h.did.crashes++
	for i := range h.queue { // connections end with the process
		if m := &h.queue[i]; m.Type == pb.MsgSnap && id.ReplicaID(m.To) == p.id {
			if from := h.peers[id.ReplicaID(m.From)]; from != nil {
				from.group.ReportSnapshot(p.id, false)
			}
		}
	}
	h.queue = slices.DeleteFunc(h.queue, func(m pb.Message) bool { return id.ReplicaID(m.To) == p.id || id.ReplicaID(m.From) == p.id })
	h.start(p.id, p.disk.crash(h.r.Uint64()), 3)
}

func (h *history) changeMembers() {
	l := h.leader()
	if l == nil || h.grown >= 7 {
		return
	}
	var cs []membership.Change
	switch ms := l.members; {
	case ms.Joint():
		return
	case len(ms.Learners) == 0:
		cs = []membership.Change{{Replica: h.grown + 1, To: membership.Learner}}
	default:
		cs = []membership.Change{{Replica: ms.Learners[0], To: membership.Voter}}
		if old := ms.Voters[h.r.IntN(len(ms.Voters))]; len(ms.Voters) > 2 && h.r.IntN(2) == 0 {
			cs = append(cs, membership.Change{Replica: old})
		}
	}
	_, _, err := l.group.Change(cs...)
	h.note("%d changes %+v: %v", l.id, cs, err)
	if err == nil && cs[0].To == membership.Learner {
		h.grown++
		h.start(h.grown, newDisk(), 3)
	}
	if err != nil && !errors.Is(err, replica.ErrChanging) && !errors.Is(err, membership.ErrNotCaughtUp) && !errors.Is(err, replica.ErrNotLeader) {
		h.t.Fatalf("changing %+v of %+v: %v", cs, l.members, err)
	}
}

// heal ends all trouble, and waits until everybody who belongs to the group has the same.
func (h *history) heal() {
	clear(h.cut)
	for _, p := range h.all() {
		p.group.PeersDown(nil)
		p.group.Wake()
	}
	h.note("heal")
	for range 3000 {
		for _, p := range h.all() {
			if used, usable := p.wal.Usage(); used > usable/3 {
				p.checkpoint(0)
			}
		}
		h.tick()
		h.watch()
		if h.agree() {
			h.check()
			return
		}
	}
	h.t.Fatal("the replicas do not agree after 3000 ticks without trouble")
}

// agree tells whether a leader and all members have applied the same entries.
func (h *history) agree() bool {
	l := h.leader()
	if l == nil || l.members.Joint() {
		return false
	}
	want := l.group.Status()
	for _, r := range slices.Concat(l.members.Voters, l.members.Learners) {
		if s := h.peers[r].group.Status(); s.Applied != want.Last || s.Commit != want.Last || s.Leader != l.id {
			return false
		}
	}
	return true
}

func (h *history) check() {
	l := h.leader()
	for i, want := range h.acked {
		if got, ok := h.entries[i]; !ok || string(got.Data) != want {
			h.t.Fatalf("%q was acknowledged at %d, applied there is %q", want, i, got.Data)
		}
	}
	all := map[string]bool{}
	for _, r := range slices.Concat(l.members.Voters, l.members.Learners) {
		p := h.peers[r]
		have := p.data()
		if first := p.disk.first; h.logs {
			var want []string
			for i := first; i <= p.last(); i++ {
				if e := h.entries[i]; len(e.Data) > 0 && e.Type == replica.EntryNormal {
					want = append(want, string(e.Data))
				}
			}
			if !slices.Equal(have, want) {
				h.t.Fatalf("replica %d has %q from %d on, want %q", r, have, first, want)
			}
			continue
		}
		all[fmt.Sprint(have)] = true
	}
	if len(all) > 1 {
		h.t.Fatalf("the machines differ: %v", all)
	}
}
