package alter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/statemachine"
)

// group is a metadata group of one machine, with a topic "orders" of three replicas.
type group struct {
	t       *testing.T
	machine *meta.Machine
	index   id.Index
	behind  error // of CatchUp
	lost    error // of Propose
}

func founded(t *testing.T) *group {
	g := &group{t: t, machine: meta.New(nil)}
	g.do(meta.Bootstrap{Level: 1, ClusterID: "test", Replicas: []meta.Replica{{Node: 1, ID: 1}, {Node: 2, ID: 2}, {Node: 3, ID: 3}}})
	for n := id.NodeID(1); n <= 3; n++ {
		g.do(meta.RegisterNode{Node: meta.Node{ID: n, Incarnation: 1, KafkaAddr: fmt.Sprintf("n%d:9092", n), RaftAddr: fmt.Sprintf("n%d:5000", n)}})
	}
	g.do(meta.CreateTopic{ID: meta.TopicID{1}, Name: "orders", Assignment: [][]id.NodeID{{1, 2, 3}}})
	return g
}

func (g *group) do(c meta.Command) {
	g.t.Helper()
	if r, err := g.propose(context.Background(), c); err != nil || r.Refused != nil {
		g.t.Fatal(c.Kind(), err, r.Refused)
	}
}

func (g *group) propose(_ context.Context, c meta.Command) (meta.Result, error) {
	if g.lost != nil {
		return meta.Result{}, g.lost
	}
	data, err := meta.Encode(c)
	if err != nil {
		return meta.Result{}, err
	}
	g.index++
	r, err := g.machine.Apply(statemachine.Entry{Index: g.index, Term: 1, Data: data})
	if err != nil {
		return meta.Result{}, err
	}
	return r.(meta.Result), nil
}

const (
	codeLost    int16 = 7
	codeUnknown int16 = 3
)

func (g *group) topics() Topics {
	return Topics{Catalog: g.machine.Catalog, CatchUp: func(context.Context) error { return g.behind }, Propose: g.propose,
		Code: func(error) int16 { return codeLost }, Unknown: func() int16 { return codeUnknown }}
}

// sets is what orders sets, "key=value key=value".
func (g *group) sets() string {
	var out []string
	for _, c := range g.machine.Catalog().TopicNamed("orders").Configs {
		out = append(out, c.Key+"="+c.Value)
	}
	return strings.Join(out, " ")
}

// incremental asks for changes of one resource: "key=value" sets, "-key" deletes, "key+=value" appends, "key-=value" subtracts, "key" sets nothing.
func incremental(kind kmsg.ConfigResourceType, name string, changes ...string) kmsg.IncrementalAlterConfigsRequestResource {
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for _, text := range changes {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Op = text, opSet
		if key, value, ok := strings.Cut(text, "="); ok {
			c.Name, c.Value = strings.TrimRight(key, "+-?"), &value
			c.Op = map[byte]kmsg.IncrementalAlterConfigOp{'+': opAppend, '-': opSubtract, '?': 9}[key[len(key)-1]]
		} else if key, ok := strings.CutPrefix(text, "-"); ok {
			c.Name, c.Op = key, opDelete
		}
		r.Configs = append(r.Configs, c)
	}
	return r
}

const (
	ofTopic  = kmsg.ConfigResourceTypeTopic
	ofBroker = kmsg.ConfigResourceTypeBroker
)

func (g *group) alter(validate bool, rs ...kmsg.IncrementalAlterConfigsRequestResource) []kmsg.IncrementalAlterConfigsResponseResource {
	q := kmsg.NewPtrIncrementalAlterConfigsRequest()
	q.Resources, q.ValidateOnly = rs, validate
	return g.topics().Incremental(context.Background(), q).(*kmsg.IncrementalAlterConfigsResponse).Resources
}

func TestIncremental(t *testing.T) {
	g := founded(t)
	for _, c := range []struct {
		changes string
		want    string // what is set then
	}{
		{"leader.region=tokyo", "leader.region=tokyo"},
		{"retention.ms=1000 segment.bytes=8192", "leader.region=tokyo retention.ms=1000 segment.bytes=8192"},
		{"leader.region=sydney -segment.bytes", "leader.region=sydney retention.ms=1000"},
		{"leader.region=", "leader.region= retention.ms=1000"},
		{"-leader.region -retention.bytes", "retention.ms=1000"},
		{"cleanup.policy+=delete", "cleanup.policy=delete retention.ms=1000"},
		{"-retention.ms -cleanup.policy", ""},
		{"", ""},
	} {
		out := g.alter(false, incremental(ofTopic, "orders", strings.Fields(c.changes)...))
		if len(out) != 1 || out[0].ErrorCode != 0 || out[0].ErrorMessage != nil || out[0].ResourceName != "orders" || out[0].ResourceType != ofTopic {
			t.Fatalf("%s: %+v", c.changes, out)
		}
		if got := g.sets(); got != c.want {
			t.Errorf("%s: it sets %q, want %q", c.changes, got, c.want)
		}
	}
}

// What is refused says which key and what would be right, and changes nothing, of the same resource neither.
func TestRefused(t *testing.T) {
	g := founded(t)
	g.do(meta.SetConfigs{ID: meta.TopicID{1}, Set: []meta.Config{{Key: "retention.ms", Value: "1000"}, {Key: "zz.newer", Value: "1"}}})
	const before = "retention.ms=1000 zz.newer=1"
	for _, c := range []struct {
		kind    kmsg.ConfigResourceType
		name    string
		changes string
		code    meta.Code
		want    string
	}{
		{ofTopic, "orders", "leader.regio=tokyo", meta.CodeInvalidConfig, "unknown configuration key leader.regio; known are cleanup.policy"},
		{ofTopic, "orders", "-leader.regio", meta.CodeInvalidConfig, "unknown configuration key leader.regio"},
		{ofTopic, "orders", "zz.newer=2", meta.CodeInvalidConfig, "unknown configuration key zz.newer"},
		{ofTopic, "orders", "retention.ms=2000 cleanup.policy=compact", meta.CodeInvalidConfig, "cleanup.policy=compact: want delete"},
		{ofTopic, "orders", "cleanup.policy-=delete", meta.CodeInvalidConfig, "cleanup.policy=: want delete"},
		{ofTopic, "orders", "cleanup.policy+=compact", meta.CodeInvalidConfig, "cleanup.policy=delete,compact: want delete"},
		{ofTopic, "orders", "min.insync.replicas=3", meta.CodeInvalidConfig, "min.insync.replicas=3: want at most 2"},
		{ofTopic, "orders", "retention.ms=soon", meta.CodeInvalidConfig, "retention.ms=soon: want an integer from -1"},
		{ofTopic, "orders", "retention.ms+=1", meta.CodeInvalidConfig, "retention.ms is no list: want SET or DELETE, not APPEND"},
		{ofTopic, "orders", "leader.region", meta.CodeInvalidRequest, "leader.region: no value: want one, or DELETE for the default"},
		{ofTopic, "orders", "leader.region?=a", meta.CodeInvalidRequest, "operation 9: want SET, DELETE, APPEND or SUBTRACT (0 to 3)"},
		{ofTopic, "orders", "leader.region=a -leader.region", meta.CodeInvalidRequest, "leader.region is changed twice"},
		{ofTopic, "nothing", "leader.region=a", meta.CodeUnknownPartition, ""},
		{ofBroker, "1", "log.retention.ms=1", meta.CodeInvalidConfig, "log.retention.ms: nothing of a broker is set over the protocol: its file or flags say it; of a topic these are: cleanup.policy"},
		{kmsg.ConfigResourceTypeBrokerLogger, "1", "root=DEBUG", meta.CodeInvalidRequest, "only topics have configurations"},
	} {
		for _, validate := range []bool{true, false} {
			out := g.alter(validate, incremental(c.kind, c.name, strings.Fields(c.changes)...))
			message := ""
			if out[0].ErrorMessage != nil {
				message = *out[0].ErrorMessage
			}
			if out[0].ErrorCode != int16(c.code) || !strings.Contains(message, c.want) {
				t.Errorf("%s of %s, validate only %v: code %d, %q; want %d, %q", c.changes, c.name, validate, out[0].ErrorCode, message, c.code, c.want)
			}
			if got := g.sets(); got != before {
				t.Fatalf("%s: it sets %q", c.changes, got)
			}
		}
	}
	// A key of a newer version may go.
	if out := g.alter(false, incremental(ofTopic, "orders", "-zz.newer")); out[0].ErrorCode != 0 || g.sets() != "retention.ms=1000" {
		t.Errorf("%+v, and it sets %q", out, g.sets())
	}
}

// Resources do not depend on each other; one that is named twice is changed once.
func TestManyResources(t *testing.T) {
	g := founded(t)
	out := g.alter(false, incremental(ofTopic, "nothing", "leader.region=a"), incremental(ofTopic, "orders", "leader.region=b"),
		incremental(ofTopic, "orders", "leader.region=c"), incremental(ofBroker, "orders"))
	codes := []int16{out[0].ErrorCode, out[1].ErrorCode, out[2].ErrorCode, out[3].ErrorCode}
	if fmt.Sprint(codes) != "[3 0 42 0]" || g.sets() != "leader.region=b" {
		t.Errorf("codes %v, and it sets %q", codes, g.sets())
	}
}

func TestValidateOnly(t *testing.T) {
	g := founded(t)
	if out := g.alter(true, incremental(ofTopic, "orders", "leader.region=a")); out[0].ErrorCode != 0 || g.sets() != "" {
		t.Errorf("%+v, and it sets %q", out, g.sets())
	}
}

// AlterConfigs says all that is to be set.
func TestReplace(t *testing.T) {
	g := founded(t)
	replace := func(values map[string]*string) kmsg.AlterConfigsResponseResource {
		r := kmsg.NewAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = ofTopic, "orders"
		for _, key := range []string{"leader.region", "retention.ms", "segment.bytes", "x"} {
			if v, ok := values[key]; ok {
				c := kmsg.NewAlterConfigsRequestResourceConfig()
				c.Name, c.Value = key, v
				r.Configs = append(r.Configs, c)
			}
		}
		q := kmsg.NewPtrAlterConfigsRequest()
		q.Resources = append(q.Resources, r)
		return g.topics().Replace(context.Background(), q).(*kmsg.AlterConfigsResponse).Resources[0]
	}
	text := func(s string) *string { return &s }
	for _, c := range []struct {
		values map[string]*string
		code   meta.Code
		want   string
	}{
		{map[string]*string{"leader.region": text("a"), "retention.ms": text("1")}, 0, "leader.region=a retention.ms=1"},
		{map[string]*string{"x": text("1")}, meta.CodeInvalidConfig, "leader.region=a retention.ms=1"},
		{map[string]*string{"leader.region": nil, "segment.bytes": text("4096")}, 0, "segment.bytes=4096"},
		{nil, 0, ""},
	} {
		if out := replace(c.values); out.ErrorCode != int16(c.code) || g.sets() != c.want || out.ResourceName != "orders" {
			t.Errorf("%d values: %+v, and it sets %q, want %d and %q", len(c.values), out, g.sets(), c.code, c.want)
		}
	}
}

// A catalog that may be old refuses nothing for good, and what became of a command that was lost is not known.
func TestNotKnown(t *testing.T) {
	g := founded(t)
	g.behind = errors.New("nobody leads")
	for _, r := range []kmsg.IncrementalAlterConfigsRequestResource{incremental(ofTopic, "nothing", "leader.region=a"), incremental(ofTopic, "orders", "x=1")} {
		if out := g.alter(false, r); out[0].ErrorCode != codeLost || out[0].ErrorMessage == nil || *out[0].ErrorMessage != "nobody leads" {
			t.Errorf("%+v", out)
		}
	}
	g.behind, g.lost = nil, errors.New("timed out")
	if out := g.alter(false, incremental(ofTopic, "orders", "leader.region=a")); out[0].ErrorCode != codeLost || *out[0].ErrorMessage != "timed out" {
		t.Errorf("%+v", out)
	}
	// Deleted between the look and the command.
	g.lost = nil
	old := g.machine.Catalog()
	g.do(meta.DeleteTopic{ID: meta.TopicID{1}})
	topics := g.topics()
	topics.Catalog = func() *meta.Catalog { return old }
	q := kmsg.NewPtrIncrementalAlterConfigsRequest()
	q.Resources = append(q.Resources, incremental(ofTopic, "orders", "leader.region=a"))
	if out := topics.Incremental(context.Background(), q).(*kmsg.IncrementalAlterConfigsResponse); out.Resources[0].ErrorCode != int16(meta.CodeUnknownPartition) {
		t.Errorf("%+v", out.Resources)
	}
}
