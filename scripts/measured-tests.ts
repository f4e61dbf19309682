/**
 * The tests whose branches are counted: those that stand beside the rooms. Under V8's coverage they take hardly longer than without it;
 * the end-to-end tests, which start hundreds of processes, take almost half as long again, and reach little that these do not.
 */
export const MEASURED_TESTS = ['test/common', 'test/server', 'test/watcher'] as const;
