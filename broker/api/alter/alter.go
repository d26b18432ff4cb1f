// Package alter changes topics' configurations, as AlterConfigs and IncrementalAlterConfigs ask. The two say it differently: the older one
// says all that a topic is to set and drops the rest, the newer one says what is to change. Both become one command of the metadata group
// (meta.SetConfigs), so that every node has the same configuration at the same place of its log; or a refusal, which says what would be right.
package alter

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/meta"
	"ackline/broker/meta/topicconfig"
)

// Topics is the metadata group as alterations see it.
type Topics struct {
	// Catalog returns the newest applied catalog.
	Catalog func() *meta.Catalog
	// CatchUp makes Catalog as new as what was acknowledged anywhere before; with an error it may be older.
	CatchUp func(ctx context.Context) error
	// Propose runs a command through the metadata group and returns what applying it returned.
	Propose func(ctx context.Context, c meta.Command) (meta.Result, error)
	Limits  meta.Limits
	// Code is Kafka's error code for an error of the two above.
	Code func(error) int16
	// Unknown is the code for a topic that the catalog does not know.
	Unknown func() int16
}

// change is one key's. Of a resource they come in the order of the request.
type change struct {
	key   string
	op    kmsg.IncrementalAlterConfigOp
	value *string
}

const (
	opSet      = kmsg.IncrementalAlterConfigOpSet
	opDelete   = kmsg.IncrementalAlterConfigOpDelete
	opAppend   = kmsg.IncrementalAlterConfigOpAppend
	opSubtract = kmsg.IncrementalAlterConfigOpSubtract
)

// resource is what a configuration belongs to.
type resource struct {
	kind kmsg.ConfigResourceType
	name string
}

// Incremental answers IncrementalAlterConfigs. Each resource is changed by itself, or refused by itself.
func (t Topics) Incremental(ctx context.Context, q *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	resp := q.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	r := t.begin(ctx, q.ValidateOnly)
	for _, x := range q.Resources {
		var changes []change
		for _, c := range x.Configs {
			changes = append(changes, change{c.Name, c.Op, c.Value})
		}
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = x.ResourceType, x.ResourceName
		out.ErrorCode, out.ErrorMessage = r.answer(resource{x.ResourceType, x.ResourceName}, changes, false)
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

// Replace answers AlterConfigs: what it does not name goes back to the default, and so does what it names without a value.
func (t Topics) Replace(ctx context.Context, q *kmsg.AlterConfigsRequest) kmsg.Response {
	resp := q.ResponseKind().(*kmsg.AlterConfigsResponse)
	r := t.begin(ctx, q.ValidateOnly)
	for _, x := range q.Resources {
		var changes []change
		for _, c := range x.Configs {
			op := opSet
			if c.Value == nil {
				op = opDelete
			}
			changes = append(changes, change{c.Name, op, c.Value})
		}
		out := kmsg.NewAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = x.ResourceType, x.ResourceName
		out.ErrorCode, out.ErrorMessage = r.answer(resource{x.ResourceType, x.ResourceName}, changes, true)
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

// request is one that is being answered.
type request struct {
	Topics
	ctx      context.Context
	validate bool  // only
	behind   error // the catalog may be older than what was acknowledged
	seen     []resource
}

func (t Topics) begin(ctx context.Context, validate bool) *request {
	return &request{Topics: t, ctx: ctx, validate: validate, behind: t.CatchUp(ctx)}
}

// answer alters one resource, and returns what the response says of it.
func (r *request) answer(x resource, changes []change, replace bool) (code int16, message *string) {
	twice := slices.Contains(r.seen, x)
	r.seen = append(r.seen, x)
	if twice {
		return say(refuse(meta.CodeInvalidRequest, "the request names %s more than once: what came first was done", x.name))
	}
	switch x.kind {
	case kmsg.ConfigResourceTypeTopic:
	case kmsg.ConfigResourceTypeBroker:
		var keys []string
		for _, c := range changes {
			keys = append(keys, c.key)
		}
		if len(keys) == 0 {
			return 0, nil
		}
		return say(refuse(meta.CodeInvalidConfig, "%s: nothing of a broker is set over the protocol: its file or flags say it; of a topic these are: %s",
			strings.Join(keys, ", "), topicconfig.Names()))
	default:
		return say(refuse(meta.CodeInvalidRequest, "only topics have configurations that can be changed here"))
	}
	topic := r.Catalog().TopicNamed(x.name)
	if topic == nil && r.behind != nil {
		return r.failed(r.behind)
	}
	if topic == nil {
		return r.Unknown(), nil
	}
	command, refused := r.plan(topic, changes, replace)
	if refused != nil && r.behind != nil {
		return r.failed(r.behind) // by a catalog that may be old
	}
	if refused != nil || r.validate {
		return say(refused)
	}
	result, err := r.Propose(r.ctx, command)
	if err != nil {
		return r.failed(err)
	}
	return say(result.Refused)
}

func (r *request) failed(err error) (int16, *string) {
	message := err.Error()
	return r.Code(err), &message
}

// say is a refusal as responses have it; nil is none.
func say(refused *meta.Refusal) (int16, *string) {
	if refused == nil {
		return 0, nil
	}
	code := refused.Code
	if code == meta.CodeUnknownTopicID { // by name it was there a moment ago
		code = meta.CodeUnknownPartition
	}
	return int16(code), &refused.Message
}

func refuse(code meta.Code, format string, args ...any) *meta.Refusal {
	return &meta.Refusal{Code: code, Message: fmt.Sprintf(format, args...)}
}

// plan turns the changes of a topic into a command, or says why not.
func (r *request) plan(topic *meta.Topic, changes []change, replace bool) (meta.SetConfigs, *meta.Refusal) {
	var set []meta.Config
	var remove, seen []string
	for _, c := range changes {
		if slices.Contains(seen, c.key) {
			return meta.SetConfigs{}, refuse(meta.CodeInvalidRequest, "configuration key %s is changed twice", c.key)
		}
		seen = append(seen, c.key)
		k, known := topicconfig.Lookup(c.key)
		own := slices.IndexFunc(topic.Configs, func(e meta.Config) bool { return e.Key == c.key })
		if !known && !(c.op == opDelete && own >= 0) { // what a newer version left may go
			return meta.SetConfigs{}, refuse(meta.CodeInvalidConfig, "unknown configuration key %s; known are %s", c.key, topicconfig.Names())
		}
		if c.op == opDelete {
			remove = append(remove, c.key)
			continue
		}
		value := k.Default
		if own >= 0 {
			value = topic.Configs[own].Value
		}
		value, refused := c.apply(k, value)
		if refused != nil {
			return meta.SetConfigs{}, refused
		}
		set = append(set, meta.Config{Key: c.key, Value: value})
	}
	if replace {
		remove = nil // everything that is not set goes
	}
	return r.Catalog().PlanSetConfigs(topic.ID, set, remove, replace, r.Limits)
}

// apply returns what a key's value becomes.
func (c change) apply(k topicconfig.Key, was string) (string, *meta.Refusal) {
	switch {
	case c.value == nil:
		return "", refuse(meta.CodeInvalidRequest, "configuration key %s: no value: want one, or DELETE for the default", c.key)
	case c.op == opSet:
		return *c.value, nil
	case c.op != opAppend && c.op != opSubtract:
		return "", refuse(meta.CodeInvalidRequest, "configuration key %s: operation %d: want SET, DELETE, APPEND or SUBTRACT (0 to 3)", c.key, c.op)
	case k.Type != topicconfig.List:
		return "", refuse(meta.CodeInvalidConfig, "configuration key %s is no list: want SET or DELETE, not %v", c.key, c.op)
	}
	list := strings.Split(was, ",")
	for _, v := range strings.Split(*c.value, ",") {
		list = slices.DeleteFunc(list, func(x string) bool { return x == v })
		if c.op == opAppend {
			list = append(list, v)
		}
	}
	return strings.Join(list, ","), nil
}
