package meta

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"ackline/broker/id"
	"ackline/broker/meta/cowmap"
	"ackline/broker/meta/ticket"
	"ackline/broker/statemachine"
)

// Machine is the metadata group's state machine. Apply and Restore belong to one goroutine at a time; everything else
// may be called from any.
type Machine struct {
	catalog  atomic.Pointer[Catalog] // stored by the goroutine that applies
	listener Listener                // set once
}

var _ statemachine.StateMachine = (*Machine)(nil)

// Listener hears about groups, in the order of the log, on the goroutine that applies, after the Catalog that shows
// the change was published. It must not block for long: the metadata group waits. After a restart or a snapshot it
// hears about what it may know already, so what it does must be idempotent.
type Listener interface {
	GroupChanged(Event)
}

// EventKind says what happened to a group.
type EventKind uint8

// The kinds of events.
const (
	GroupCreated  EventKind = iota + 1 // Topic, Partition and Replicas are set
	GroupReplaced                      // its Replicas are others than before; Gone has those it lost
	GroupDeleted                       // it is no more
)

func (k EventKind) String() string {
	return cmp.Or(map[EventKind]string{GroupCreated: "created", GroupReplaced: "replaced", GroupDeleted: "deleted"}[k], fmt.Sprintf("event kind %d", uint8(k)))
}

// Event is one group that changed.
type Event struct {
	Kind      EventKind
	Group     id.GroupID
	Topic     *Topic    // nil when deleted, and for the metadata group
	Partition int32     // of Topic
	Replicas  []Replica // where the group belongs now; nil when deleted
	Gone      []Replica // whose files must go, until FilesGone says that they went
}

// Result is what Machine.Apply returns for a command.
type Result struct {
	Ticket    ticket.Ticket
	Repeated  bool        // it was decided before, under this ticket, and nothing was done now
	Refused   *Refusal    // nil: it was done
	Topic     *Topic      // created, changed or deleted
	Producers ProducerIDs // issued
	Replica   Replica     // that took another's place
}

// FeatureLevelError is a committed feature level that this binary cannot work at. It stops the group.
type FeatureLevelError struct{ Level, Supported uint32 }

func (e *FeatureLevelError) Error() string {
	return fmt.Sprintf("feature level %d is above %d, the newest that this binary knows: run a newer one", e.Level, e.Supported)
}

// New returns a machine with nothing in it. listener may be nil.
func New(listener Listener) *Machine {
	m := &Machine{listener: listener}
	m.catalog.Store(emptyCatalog())
	return m
}

// Catalog returns the state as of the last command applied.
func (m *Machine) Catalog() *Catalog { return m.catalog.Load() }

// LastApplied implements statemachine.StateMachine.
func (m *Machine) LastApplied() id.Index { return m.Catalog().applied }

// Apply implements statemachine.StateMachine. Its result is a Result.
func (m *Machine) Apply(e statemachine.Entry) (statemachine.Result, error) {
	old := m.Catalog()
	if skip, err := statemachine.Next(old.applied, e.Index); skip || err != nil {
		return nil, err
	}
	from, data := ticket.Detach(e.Data)
	if len(data) == 0 {
		next := *old
		next.applied = e.Index
		m.catalog.Store(&next)
		return nil, nil
	}
	command, err := Decode(data)
	if err == nil {
		err = supported(command)
	}
	if err != nil {
		return nil, fmt.Errorf("meta: entry %d: %w", e.Index, err)
	}

	c := &change{Catalog: *old}
	result := Result{Repeated: old.tickets.Has(from)}
	if !result.Repeated {
		if result.Refused = old.Allows(command.Kind()); result.Refused == nil {
			result = command.apply(c)
		}
		c.tickets = c.tickets.Add(from)
	}
	result.Ticket, c.applied = from, e.Index
	m.publish(c.finish(), c.events)
	return result, nil
}

// supported refuses the commands that would take the group to a level this binary does not know.
func supported(c Command) error {
	level := uint32(0)
	switch c := c.(type) {
	case Bootstrap:
		level = c.Level
	case SetFeatureLevel:
		level = c.Level
	}
	if level > MaxFeatureLevel {
		return &FeatureLevelError{Level: level, Supported: MaxFeatureLevel}
	}
	return nil
}

func (m *Machine) publish(c *Catalog, events []Event) {
	m.catalog.Store(c)
	if m.listener == nil {
		return
	}
	for _, e := range events {
		m.listener.GroupChanged(e)
	}
}

// change is the next Catalog while it is built. Slices and tables that it shares with the current one are replaced,
// never written to.
type change struct {
	Catalog
	topicEdit *topicEdit // nil until a topic changes
	events    []Event
}

type topicEdit struct {
	names  *cowmap.Edit[string, *Topic]
	ids    *cowmap.Edit[TopicID, *Topic]
	groups *cowmap.Edit[id.GroupID, placed]
}

func (c *change) edit() *topicEdit {
	if c.topicEdit == nil {
		t := c.topics
		c.topicEdit = &topicEdit{names: t.names.Edit(), ids: t.ids.Edit(), groups: t.groups.Edit()}
	}
	return c.topicEdit
}

// putTopic adds a topic or replaces the one with its id; groups from partition first on are new.
func (c *change) putTopic(t *Topic, first int) {
	e := c.edit()
	e.names.Set(t.Name, t)
	e.ids.Set(t.ID, t)
	for i, p := range t.Partitions[first:] {
		e.groups.Set(p.Group, placed{topic: t.ID, partition: int32(first + i)})
	}
}

func (c *change) removeTopic(t *Topic) {
	e := c.edit()
	e.names.Remove(t.Name)
	e.ids.Remove(t.ID)
	for _, p := range t.Partitions {
		e.groups.Remove(p.Group)
	}
}

// finish returns the Catalog that was built.
func (c *change) finish() *Catalog {
	next := c.Catalog
	if e := c.topicEdit; e != nil {
		t := &topicSet{names: e.names.Map(), ids: e.ids.Map(), groups: e.groups.Map()}
		t.sorted = sync.OnceValue(t.sort)
		next.topics = t
	}
	return &next
}

// issue gives a new replica on each node.
func (c *change) issue(nodes []id.NodeID) []Replica {
	list := make([]Replica, len(nodes))
	for i, n := range nodes {
		list[i] = Replica{Node: n, ID: c.nextReplica}
		c.nextReplica++
	}
	return list
}

// bury adds replicas to a group's tombstone and returns all that it lists.
func (c *change) bury(g id.GroupID, replicas []Replica) []Replica {
	i, found := c.findTombstone(g)
	if !found {
		all := sortReplicas(replicas)
		c.tombstones = insert(c.tombstones, i, Tombstone{Group: g, Replicas: all})
		return all
	}
	all := sortReplicas(slices.Concat(c.tombstones[i].Replicas, replicas))
	c.tombstones = replace(c.tombstones, i, Tombstone{Group: g, Replicas: all})
	return all
}

func sortReplicas(list []Replica) []Replica {
	return slices.SortedFunc(slices.Values(list), func(a, b Replica) int { return cmp.Compare(a.ID, b.ID) })
}

// insert and replace leave the slice that they are given as it is: readers have it.
func insert[T any](list []T, i int, v T) []T { return slices.Concat(list[:i], []T{v}, list[i:]) }

func replace[T any](list []T, i int, v T) []T {
	list = slices.Clone(list)
	list[i] = v
	return list
}
