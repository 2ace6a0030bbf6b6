// Package celtest compares exported ValidatingAdmissionPolicies with the verdicts of `kube-devops scan`. It evaluates the policies in process, in
// the CEL environments of the API server from the oldest supported version of Kubernetes to the newest.
package celtest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
)

// The versions of Kubernetes whose environments are compared.
var (
	Oldest = version.MajorMinor(1, 30)
	Newest = version.MajorMinor(1, 37)
)

// A Policy is a compiled ValidatingAdmissionPolicy.
type Policy struct {
	compiler    *cel.CompositedCompiler
	conditions  []cel.ConditionEvaluator
	names       []string
	violations  []cel.ConditionEvaluator // of checks
	checks      []string
	skipped     cel.ConditionEvaluator // nil when the policy skips nothing
	validations cel.ConditionEvaluator
	messages    cel.ConditionEvaluator
}

// An expression is a CEL expression to compile.
type expression struct{ name, text string }

func (e expression) GetName() string            { return e.name }
func (e expression) GetExpression() string      { return e.text }
func (e expression) ReturnTypes() []*celgo.Type { return []*celgo.Type{celgo.AnyType} }

// checkPrefix is the prefix of the variables with the violations of a check. Such a variable has one list for the object and, on an update, one
// for the old object.
const checkPrefix = "check_"

// Compile compiles a policy with the functions that a version of Kubernetes has.
func Compile(v *version.Version, p *admissionregistrationv1.ValidatingAdmissionPolicy) (*Policy, error) {
	compiler, err := cel.NewCompositedCompiler(environment.MustBaseEnvSet(v))
	if err != nil {
		return nil, err
	}
	c := &Policy{compiler: compiler}
	const mode = environment.NewExpressions
	var errs []string
	compiled := func(name, text string) cel.ConditionEvaluator {
		condition := compiler.CompileCondition([]cel.ExpressionAccessor{expression{name, text}}, cel.OptionalVariableDeclarations{}, mode)
		for _, err := range condition.CompilationErrors() {
			errs = append(errs, fmt.Sprintf("%s: %v\n%s", name, err, text))
		}
		return condition
	}
	for _, variable := range p.Spec.Variables {
		if result := compiler.CompileAndStoreVariable(expression{variable.Name, variable.Expression}, cel.OptionalVariableDeclarations{}, mode); result.Error != nil {
			errs = append(errs, fmt.Sprintf("variable %s: %v\n%s", variable.Name, result.Error, variable.Expression))
		}
		if id, ok := strings.CutPrefix(variable.Name, checkPrefix); ok {
			c.checks = append(c.checks, id)
			c.violations = append(c.violations, compiled(id, "variables."+variable.Name))
		}
		if variable.Name == "skipped" {
			c.skipped = compiled("skipped", "variables.skipped[0]")
		}
	}
	for _, condition := range p.Spec.MatchConditions {
		c.names = append(c.names, condition.Name)
		c.conditions = append(c.conditions, compiled(condition.Name, condition.Expression))
	}
	for _, validation := range p.Spec.Validations {
		c.validations = compiled("the validation", validation.Expression)
		c.messages = compiled("the message", validation.MessageExpression)
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("compile for Kubernetes %v:\n%s", v, strings.Join(errs, "\n"))
	}
	return c, nil
}

// A Request is an admission request.
type Request struct {
	Operation         admission.Operation
	Object, OldObject runtime.Object
	Kind              schema.GroupVersionKind
	Resource          schema.GroupVersionResource
	Namespace, Name   string
}

// A Result is the result of a policy for a request.
type Result struct {
	// Matched is false if a match condition is not met. No other field is set then.
	Matched bool
	Skipped bool
	// Violations has the entries of each check, in the order of the policy.
	Violations map[string][]string
	Admitted   bool
	Message    string
	// Costs has the cost of each check, and Cost is the cost of the whole policy.
	Costs map[string]int64
	Cost  int64
}

// Evaluate evaluates all expressions of a policy. It returns an error if any of them fails, for which the API server refuses the request.
func (p *Policy) Evaluate(r Request) (Result, error) {
	result := Result{Matched: true, Violations: make(map[string][]string), Costs: make(map[string]int64)}
	attributes := admission.NewAttributesRecord(r.Object, r.OldObject, r.Kind, r.Namespace, r.Name, r.Resource, "", r.Operation, &metav1.CreateOptions{}, false,
		&user.DefaultInfo{Name: "developer"})
	versioned := &admission.VersionedAttributes{Attributes: attributes, VersionedKind: r.Kind}
	versioned.VersionedObject = admission.NewLazyObject(r.Object)
	if r.OldObject != nil {
		versioned.VersionedOldObject = admission.NewLazyObject(r.OldObject)
	}
	request := cel.CreateAdmissionRequest(attributes, metav1.GroupVersionResource(r.Resource), metav1.GroupVersionKind(r.Kind))
	ask := func(condition cel.ConditionEvaluator) (ref.Val, int64, error) {
		return p.ask(condition, versioned, request)
	}
	for i, condition := range p.conditions {
		is, _, err := ask(condition)
		if err != nil {
			return result, fmt.Errorf("match condition %s: %w", p.names[i], err)
		}
		if is.Value() != true {
			return Result{}, nil
		}
	}
	if p.skipped != nil {
		is, _, err := ask(p.skipped)
		if err != nil {
			return result, fmt.Errorf("skipped: %w", err)
		}
		result.Skipped = is.Value() == true
	}
	for i, condition := range p.violations {
		list, cost, err := ask(condition)
		if err != nil {
			return result, fmt.Errorf("check %s: %w", p.checks[i], err)
		}
		result.Costs[p.checks[i]] = cost
		objects, ok := list.(traits.Lister)
		if !ok {
			return result, fmt.Errorf("check %s is %T, not a list", p.checks[i], list.Value())
		}
		entries, ok := objects.Get(types.Int(0)).(traits.Lister)
		if !ok {
			return result, fmt.Errorf("check %s is not a list of lists", p.checks[i])
		}
		for k := range int(entries.Size().Value().(int64)) {
			text, ok := entries.Get(types.Int(k)).Value().(string)
			if !ok {
				return result, fmt.Errorf("an entry of check %s is not a text", p.checks[i])
			}
			result.Violations[p.checks[i]] = append(result.Violations[p.checks[i]], text)
		}
	}
	if p.validations == nil {
		return result, nil
	}
	admitted, cost, err := ask(p.validations)
	if err != nil {
		return result, fmt.Errorf("the validation: %w", err)
	}
	result.Admitted, result.Cost = admitted.Value() == true, cost
	message, cost, err := ask(p.messages)
	if err != nil {
		return result, fmt.Errorf("the message: %w", err)
	}
	result.Message, _ = message.Value().(string)
	result.Cost += cost
	return result, nil
}

// ask evaluates one expression with the variables that it needs, and returns the cost as the API server computes it.
func (p *Policy) ask(condition cel.ConditionEvaluator, versioned *admission.VersionedAttributes, request *admissionv1.AdmissionRequest) (ref.Val, int64, error) {
	ctx := p.compiler.CreateContext(context.Background())
	results, left, err := condition.ForInput(ctx, versioned, request, cel.OptionalVariableBindings{}, nil, math.MaxInt64)
	if err != nil {
		return nil, 0, err
	}
	return results[0].EvalResult, math.MaxInt64 - left, results[0].Error
}

// Checks returns the ids of the checks of the policy.
func (p *Policy) Checks() []string { return slices.Clone(p.checks) }
