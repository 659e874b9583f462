"""The machinery under every protocol: events, calls, runner, traces, view and registry."""
