import keras
import numpy as np
import pytest
import tensorflow as tf

from ppm_tf.training.optimizers import TableAdam, dense_optimizer, ranking_optimizer, sum_duplicates

ROWS, DIM, STEPS = 30, 4, 20
EVERY = np.arange(8)  # rows that are in every batch


def variable(name="table", seed=0, shape=(ROWS, DIM)):
    return keras.Variable(np.random.default_rng(seed).normal(size=shape).astype("float32"), name=name)


def batches(steps=STEPS):
    """Slices in which rows 0 to 7 always occur, some of 8 to 19 now and then, and 20 to 29 never; with repetitions."""
    rng = np.random.default_rng(1)
    for _ in range(steps):
        rows = np.concatenate([EVERY, rng.integers(0, 20, 6)]).astype("int32")
        rng.shuffle(rows)
        yield rows, rng.normal(size=(len(rows), DIM)).astype("float32")


def slices(rows, values):
    return tf.IndexedSlices(tf.constant(values, tf.float32), tf.constant(rows, tf.int32), tf.constant([ROWS, DIM]))


def dense(rows, values):
    gradient = np.zeros((ROWS, DIM), "float32")
    np.add.at(gradient, rows, values)
    return gradient


def schedule():
    return keras.optimizers.schedules.PolynomialDecay(0.1, STEPS, 0.01)


def lazy(table, kind, rate=1.0):
    return ranking_optimizer(schedule(), [table], kind, rate)


def applied(optimizer, one, graph):
    step = lambda gradient: optimizer.apply([gradient], [one])
    return tf.function(step) if graph else step


def stepped(optimizer, table, graph=True):
    """The table after all batches, by an optimiser that takes slices."""
    optimizer.build([table])
    step = lambda rows, values: optimizer.apply([tf.IndexedSlices(values, rows, tf.constant([ROWS, DIM]))], [table])
    step = tf.function(step, reduce_retracing=True) if graph else step
    for rows, values in batches():
        step(tf.constant(rows), tf.constant(values))
    return np.array(table)


@pytest.mark.parametrize(("kind", "keras_optimizer"), [("adam", keras.optimizers.Adam), ("adagrad", keras.optimizers.Adagrad)])
def test_rows_of_every_batch_move_as_under_keras(kind, keras_optimizer):
    mine, theirs = variable(), variable()
    optimizer = keras_optimizer(schedule())
    optimizer.build([theirs])
    for rows, values in batches():
        optimizer.apply([tf.constant(dense(rows, values))], [theirs])
    found = stepped(lazy(mine, kind), mine)
    np.testing.assert_allclose(found[EVERY], np.array(theirs)[EVERY], atol=1e-6)


def by_hand(kind, rate=1.0):
    """The equations, row by row, in double precision."""
    table = np.array(variable()).astype("float64")
    first, second = np.zeros_like(table), np.full_like(table, 0.1 if kind == "adagrad" else 0.0)
    for step, (rows, values) in enumerate(batches()):
        learning_rate = rate * (0.1 - (0.1 - 0.01) * step / STEPS)
        for row in np.unique(rows):
            gradient = values[rows == row].astype("float64").sum(axis=0)
            if kind == "adagrad":
                second[row] += gradient**2
                table[row] -= learning_rate * gradient / np.sqrt(second[row] + 1e-7)
                continue
            first[row] = 0.9 * first[row] + 0.1 * gradient
            second[row] = 0.999 * second[row] + 0.001 * gradient**2
            corrected = learning_rate * np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
            table[row] -= corrected * first[row] / (np.sqrt(second[row]) + 1e-7)
    return table, first, second


@pytest.mark.parametrize("kind", ["adam", "adagrad"])
@pytest.mark.parametrize("rate", [1.0, 0.25])
@pytest.mark.parametrize("graph", [True, False])
def test_rows_of_some_batches_follow_the_equations(kind, rate, graph):
    table = variable()
    before = np.array(table)
    optimizer = lazy(table, kind, rate)
    found = stepped(optimizer, table, graph)
    expected, first, second = by_hand(kind, rate)
    np.testing.assert_allclose(found, expected, atol=2e-5)  # 20 steps in single precision, where v is near nothing
    np.testing.assert_array_equal(found[20:], before[20:])
    slots = [np.array(slot) for slot in optimizer.variables if tuple(slot.shape) == (ROWS, DIM)]
    for slot, wanted in zip(slots, [second] if kind == "adagrad" else [first, second], strict=True):
        np.testing.assert_allclose(slot, wanted, atol=1e-5)
        np.testing.assert_array_equal(slot[20:], np.full((10, DIM), 0.1 if kind == "adagrad" else 0.0, "float32"))


@pytest.mark.parametrize("kind", ["adam", "adagrad"])
def test_a_dense_gradient_of_a_table_touches_every_row(kind):
    mine, theirs = variable(), variable()
    optimizers = [lazy(mine, kind), (keras.optimizers.Adam if kind == "adam" else keras.optimizers.Adagrad)(schedule())]
    for optimizer, table in zip(optimizers, (mine, theirs), strict=True):
        optimizer.apply([tf.ones([ROWS, DIM])], [table])
    np.testing.assert_allclose(np.array(mine), np.array(theirs), atol=1e-6)


def test_no_rows_change_nothing_but_the_step():
    table = variable()
    before = np.array(table)
    optimizer = lazy(table, "adam")
    optimizer.apply([slices(np.zeros(0, "int32"), np.zeros((0, DIM), "float32"))], [table])
    np.testing.assert_array_equal(np.array(table), before)
    assert int(optimizer.iterations) == 1


def test_repeated_rows_are_summed():
    found = sum_duplicates(slices([5, 2, 5, 5], [[1] * DIM, [2] * DIM, [3] * DIM, [4] * DIM]))
    assert found.indices.numpy().tolist() == [5, 2]
    assert found.values.numpy().tolist() == [[8] * DIM, [2] * DIM]


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_dense_weights_move_as_under_the_dense_optimizer(weight_decay):
    kernels, biases, table = [variable("kernel", 3, (5, 2)) for _ in range(2)], [variable("bias", 4, (2,)) for _ in range(2)], variable()
    before = np.array(table)
    mine = ranking_optimizer(schedule(), [table], weight_decay=weight_decay)
    theirs = dense_optimizer(schedule(), weight_decay)
    for step in range(STEPS):
        gradients = [tf.fill(shape, np.float32(np.sin(step + 1))) for shape in ((5, 2), (2,))]
        mine.apply([*gradients, slices([3], [[0] * DIM])], [kernels[0], biases[0], table])
        theirs.apply(gradients, [kernels[1], biases[1]])
    np.testing.assert_allclose(np.array(kernels[0]), np.array(kernels[1]), atol=1e-6)
    np.testing.assert_allclose(np.array(biases[0]), np.array(biases[1]), atol=1e-6)
    np.testing.assert_array_equal(np.array(table), before)  # no gradient but zeros, and no decay


@pytest.mark.parametrize(
    ("weight_decay", "keras_optimizer"),
    [(0.0, keras.optimizers.Adam), (0.1, lambda rate, **more: keras.optimizers.AdamW(rate, weight_decay=0.1, **more))],
)
@pytest.mark.parametrize("graph", [False, True])
def test_one_kernel_a_variable_moves_it_as_keras_operations_do(weight_decay, keras_optimizer, graph):
    """With Keras' moving averages of the weights, under a falling rate, in slots and weights."""
    kernels = [variable("kernel", 3, (5, 2)) for _ in range(2)]
    mine, theirs = dense_optimizer(schedule(), weight_decay), keras_optimizer(schedule())
    for optimizer, kernel in zip((mine, theirs), kernels, strict=True):
        optimizer.use_ema, optimizer.ema_momentum = True, 0.9
        optimizer.build([kernel])
        step = applied(optimizer, kernel, graph)
        for number in range(STEPS):
            step(tf.constant(np.random.default_rng(number).normal(size=(5, 2)), tf.float32))
    assert int(mine.iterations) == int(theirs.iterations) == STEPS
    for found, expected in zip([*mine.variables, kernels[0]], [*theirs.variables, kernels[1]], strict=True):
        assert getattr(found, "name", "") == getattr(expected, "name", "")
        np.testing.assert_allclose(np.array(found), np.array(expected), rtol=2e-5, atol=1e-6)


def test_a_multiplier_scales_the_steps_and_the_decay_of_its_variable():
    slow, fast, table = variable("kernel", 3), variable("kernel", 3), variable()
    start = np.array(slow, "float64")
    optimizer = ranking_optimizer(0.1, [table], rates={id(slow): 0.1}, weight_decay=0.5)
    optimizer.apply([tf.ones([ROWS, DIM]), tf.ones([ROWS, DIM]), slices([3], [[1] * DIM])], [slow, fast, table])
    # The first step of Adam is the learning rate, whatever the gradient.
    np.testing.assert_allclose(np.array(slow), start * (1 - 0.1 * 0.1 * 0.5) - 0.1 * 0.1, atol=1e-5)
    np.testing.assert_allclose(np.array(fast), start * (1 - 0.1 * 0.5) - 0.1, atol=1e-5)


def test_slots_are_those_of_the_trained_variables():
    frozen, table, kernel = variable(), variable(), variable("kernel", 3, (5, 2))
    optimizer = ranking_optimizer(0.1, [frozen, table], "adagrad")
    optimizer.build([kernel, table])
    assert sorted(tuple(slot.shape) for slot in optimizer.variables if slot.shape.rank) == [(5, 2), (5, 2), (ROWS, DIM)]


def test_an_unknown_table_optimizer_is_refused():
    with pytest.raises(ValueError, match='"adam" or "adagrad". Received: \'sgd\''):
        TableAdam(0.1, [], "sgd")


@pytest.mark.parametrize("made", [lambda: dense_optimizer(0.1, weight_decay=0.5), lambda: ranking_optimizer(0.1, [], weight_decay=0.5)])
def test_weight_decay_reaches_matrices_alone(made):
    """A slope (Dice's alpha), a scale or a bias is no weight to shrink, whatever its name."""
    shapes = {"kernel": (3, 2), "alpha": (3,), "gate": (3,), "bias": (3,), "embedding": (3, 2)}
    variables = [variable(name, shape=shape) for name, shape in shapes.items()]
    before = [np.array(one) for one in variables]
    optimizer = made()
    optimizer.build(variables)
    optimizer.apply([tf.zeros(one.shape) for one in variables], variables)
    moved = {one.name for one, old in zip(variables, before, strict=True) if not np.array_equal(np.array(one), old)}
    assert moved == {"kernel"}


@pytest.mark.parametrize(("kind", "keras_optimizer"), [("adam", keras.optimizers.Adam), ("adagrad", keras.optimizers.Adagrad)])
def test_decay_of_tables_is_keras_decoupled_decay_of_the_rows_in_the_batch(kind, keras_optimizer):
    mine, theirs = variable(), variable()
    optimizer = keras_optimizer(schedule(), weight_decay=0.05)
    optimizer.build([theirs])
    for rows, values in batches():
        optimizer.apply([tf.constant(dense(rows, values))], [theirs])
    found = stepped(ranking_optimizer(schedule(), [mine], kind, table_decay=0.05), mine)
    np.testing.assert_allclose(found[EVERY], np.array(theirs)[EVERY], atol=2e-6)
    np.testing.assert_array_equal(found[20:], np.array(variable())[20:])  # never in a batch
