package node_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/vfs"
)

// What clients do to one topic's name, and what they are told.
type nameOp int

const (
	opCreate nameOp = iota
	opDelete
	opLook
)

type nameAnswer int

const (
	unknown nameAnswer = iota // an error that promises nothing, or no answer at all
	done                      // created, or deleted
	there                     // it exists
	absent                    // it does not
)

type nameInput struct {
	op   nameOp
	name string
}

// nameModel is the topics' names as one sequence of events would have it: a name is taken or not.
var nameModel = porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byName := map[string][]porcupine.Operation{}
		for _, o := range history {
			name := o.Input.(nameInput).name
			byName[name] = append(byName[name], o)
		}
		var all [][]porcupine.Operation
		for _, ops := range byName {
			all = append(all, ops)
		}
		return all
	},
	Init: func() []any { return []any{false} },
	Step: func(state, input, output any) []any {
		taken, op := state.(bool), input.(nameInput).op
		switch output.(nameAnswer) {
		case unknown:
			if op == opLook {
				return []any{taken}
			}
			return []any{taken, op == opCreate}
		case done:
			if taken == (op == opCreate) {
				return nil
			}
			return []any{!taken}
		case there:
			if !taken {
				return nil
			}
		case absent:
			if taken {
				return nil
			}
		}
		return []any{taken}
	},
	DescribeOperation: func(input, output any) string {
		in := input.(nameInput)
		return fmt.Sprintf("%s(%s) -> %s", [...]string{"create", "delete", "look"}[in.op], in.name,
			[...]string{"?", "done", "there", "absent"}[output.(nameAnswer)])
	},
}

// lag is how much longer one node's disk takes than the others'. It applies nothing that it has not stored, so it is behind.
const lag = 10 * time.Millisecond

// lagging is three nodes of which the third is behind the others.
func lagging(t *testing.T) *cluster {
	t.Helper()
	c := prepareCluster(t, 3)
	slow := c.fs[2]
	c.fs[2] = vfs.Inject(slow, func(op vfs.Op) error {
		if op.Kind == vfs.OpWrite && op.Durable {
			<-time.After(lag)
		}
		return nil
	})
	for i := range c.nodes {
		c.start(i)
	}
	c.ready()
	return c
}

// TestAnyNodeKnowsWhatAnotherAcknowledged: also one that is behind.
func TestAnyNodeKnowsWhatAnotherAcknowledged(t *testing.T) {
	c := lagging(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cl := c.client(kgo.RequestRetries(0))
	for i := range 20 {
		name := fmt.Sprintf("name-%d", i)
		for _, step := range []struct {
			op   nameOp
			want nameAnswer
		}{{opCreate, there}, {opDelete, absent}} {
			if got := tell(ctx, cl.Broker(1), nameInput{step.op, name}); got != done {
				t.Fatalf("%s: answer %d at node 1", name, got)
			}
			if got := tell(ctx, cl.Broker(3), nameInput{opLook, name}); got != step.want {
				t.Fatalf("%s: node 3 says %d, want %d: it does not know what node 1 has acknowledged", name, got, step.want)
			}
			if step.op != opCreate {
				continue
			}
			req := kmsg.NewPtrMetadataRequest()
			topic := kmsg.NewMetadataRequestTopic()
			topic.Topic = &name
			req.Topics = append(req.Topics, topic)
			if resp, err := req.RequestWith(ctx, cl.Broker(3)); err != nil || kerr.ErrorForCode(resp.Topics[0].ErrorCode) == kerr.UnknownTopicOrPartition {
				t.Fatalf("%s: node 3 does not know the topic: %v", name, err)
			}
		}
	}
}

// TestNameModelRefuses: the check of the next test can fail.
func TestNameModelRefuses(t *testing.T) {
	at := func(op nameOp, out nameAnswer, call, back int64) porcupine.Operation {
		return porcupine.Operation{Input: nameInput{op, "a"}, Output: out, Call: call, Return: back}
	}
	forever := int64(time.Hour)
	for what, c := range map[string]struct {
		history []porcupine.Operation
		ok      bool
	}{
		"a topic that was created is there":        {[]porcupine.Operation{at(opCreate, done, 0, 1), at(opLook, there, 2, 3)}, true},
		"a topic that was created is absent":       {[]porcupine.Operation{at(opCreate, done, 0, 1), at(opLook, absent, 2, 3)}, false},
		"it is looked for meanwhile":               {[]porcupine.Operation{at(opCreate, done, 0, 3), at(opLook, absent, 1, 2)}, true},
		"a deleted topic is there":                 {[]porcupine.Operation{at(opCreate, done, 0, 1), at(opDelete, done, 2, 3), at(opLook, there, 4, 5)}, false},
		"it came back by a create of unknown fate": {[]porcupine.Operation{at(opCreate, unknown, 0, forever), at(opLook, absent, 1, 2), at(opLook, there, 3, 4)}, true},
		"that is carried out twice": {[]porcupine.Operation{at(opCreate, unknown, 0, forever), at(opLook, there, 1, 2), at(opDelete, done, 3, 4),
			at(opLook, there, 5, 6)}, false},
		"two creates of one name": {[]porcupine.Operation{at(opCreate, done, 0, 1), at(opCreate, done, 2, 3)}, false},
	} {
		if ok := porcupine.CheckOperations(nameModel.ToModel(), c.history); ok != c.ok {
			t.Errorf("%s: %t, want %t", what, ok, c.ok)
		}
	}
}

// TestMetadataIsLinearizable: clients create, delete and look up topics at any node, while the metadata's leader changes and nodes
// come and go. What they are told is what one sequence of these commands would have told them.
func TestMetadataIsLinearizable(t *testing.T) {
	c := lagging(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cl := c.client(kgo.RequestRetries(0))
	began := time.Now()
	var mu sync.Mutex
	var history []porcupine.Operation
	work, stop := context.WithCancel(ctx)
	defer stop()
	var clients sync.WaitGroup
	for worker := range 4 {
		clients.Go(func() {
			r := rand.New(rand.NewPCG(uint64(worker), 7))
			for range 60 {
				if work.Err() != nil {
					return
				}
				in := nameInput{nameOp(r.IntN(3)), fmt.Sprintf("name-%d", r.IntN(2))}
				at := int32(r.IntN(3) + 1)
				call := time.Since(began).Nanoseconds()
				out := tell(work, cl.Broker(int(at)), in)
				o := porcupine.Operation{ClientId: worker, Input: in, Call: call, Output: out, Return: time.Since(began).Nanoseconds()}
				if out == unknown {
					o.Return = int64(time.Hour) // it may be carried out at any time from now on
				}
				mu.Lock()
				history = append(history, o)
				mu.Unlock()
			}
		})
	}
	for i := range c.nodes {
		c.stop(i)
		c.start(i)
		c.ready()
	}
	clients.Wait()
	known := 0
	for _, o := range history {
		if o.Output.(nameAnswer) != unknown {
			known++
		}
	}
	if known < len(history)/2 {
		t.Errorf("of %d commands only %d were answered", len(history), known)
	}
	model := nameModel.ToModel()
	result, info := porcupine.CheckOperationsVerbose(model, history, time.Minute)
	if result != porcupine.Ok {
		for _, o := range history {
			t.Log(o.ClientId, o.Call/1e3, o.Return/1e3, nameModel.DescribeOperation(o.Input, o.Output))
		}
		t.Errorf("%v; %d partial linearizations", result, len(info.PartialLinearizations()))
	}
}

// tell does one thing at one node.
func tell(ctx context.Context, b *kgo.Broker, in nameInput) nameAnswer {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var code int16
	switch in.op {
	case opCreate:
		req := kmsg.NewPtrCreateTopicsRequest()
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = in.name, 1, 3
		req.Topics, req.TimeoutMillis = append(req.Topics, topic), 2000
		resp, err := req.RequestWith(ctx, b)
		if err != nil || len(resp.Topics) != 1 {
			return unknown
		}
		code = resp.Topics[0].ErrorCode
	case opDelete:
		req := kmsg.NewPtrDeleteTopicsRequest()
		topic := kmsg.NewDeleteTopicsRequestTopic()
		topic.Topic = &in.name
		req.Topics, req.TopicNames, req.TimeoutMillis = append(req.Topics, topic), []string{in.name}, 2000
		resp, err := req.RequestWith(ctx, b)
		if err != nil || len(resp.Topics) != 1 {
			return unknown
		}
		code = resp.Topics[0].ErrorCode
	case opLook:
		req := kmsg.NewPtrDescribeConfigsRequest()
		resource := kmsg.NewDescribeConfigsRequestResource()
		resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, in.name
		req.Resources = append(req.Resources, resource)
		resp, err := req.RequestWith(ctx, b)
		if err != nil || len(resp.Resources) != 1 {
			return unknown
		}
		if code = resp.Resources[0].ErrorCode; code == 0 {
			return there
		}
	}
	switch code {
	case 0:
		return done
	case kerr.TopicAlreadyExists.Code:
		return there
	case kerr.UnknownTopicOrPartition.Code:
		return absent
	}
	return unknown
}
