"""Results of other threads in an event loop."""

import asyncio
import concurrent.futures
import threading
import unittest.mock

import pytest

from serving import mailbox


def complete(futures):
    """Completes futures in another thread, and waits until it has."""
    thread = threading.Thread(target=lambda: [future.set_result('done') for future in futures])
    thread.start()
    thread.join()


def test_many_results_wake_the_loop_once():
    async def main():
        loop = asyncio.get_running_loop()
        futures = [concurrent.futures.Future() for _ in range(8)]
        awaited = [asyncio.ensure_future(mailbox.result(future)) for future in futures]
        await asyncio.sleep(0)  # so that all wait
        with unittest.mock.patch.object(loop, 'call_soon_threadsafe', wraps=loop.call_soon_threadsafe) as wake:
            complete(futures)
            assert await asyncio.gather(*awaited) == ['done'] * 8
        return wake.call_count
    assert asyncio.run(main()) == 1


def test_results_from_many_threads_all_arrive():
    async def main(pool):
        return await asyncio.gather(*(mailbox.result(pool.submit(pow, number, 2)) for number in range(2000)))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert asyncio.run(main(pool)) == [number ** 2 for number in range(2000)]


def test_an_exception_arrives():
    async def main(pool):
        await mailbox.result(pool.submit(int, 'x'))
    with concurrent.futures.ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match='invalid literal'):
        asyncio.run(main(pool))


def test_a_result_that_is_there_already_arrives():
    future = concurrent.futures.Future()
    future.set_result('early')
    assert asyncio.run(mailbox.result(future)) == 'early'


def test_whoever_stops_waiting_cancels_the_work():
    async def main():
        future = concurrent.futures.Future()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(mailbox.result(future), 0.01)
        return future.cancelled()
    assert asyncio.run(main())


def test_cancelled_work_cancels_whoever_waits():
    async def main():
        future = concurrent.futures.Future()
        waiting = asyncio.ensure_future(mailbox.result(future))
        await asyncio.sleep(0)
        assert future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    asyncio.run(main())


def test_a_result_for_a_loop_that_has_ended_is_dropped(caplog):
    future = concurrent.futures.Future()
    future.set_running_or_notify_cancel()  # as in work that goes on

    async def main():
        asyncio.ensure_future(mailbox.result(future))
        await asyncio.sleep(0)
    asyncio.run(main())
    complete([future])
    assert not caplog.records
